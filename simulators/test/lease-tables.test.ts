/**
 * The simulators against the tables of lives, limits and statuses, row by row as the documents have them
 * (protocols/microsoft.md §2.4, §2.7, §2.8; protocols/google.md §2.4, §3, §4.2, §4.3), with nothing of the client.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  consent,
  control,
  googleAuthUrl,
  type Json,
  microsoftAuthUrl,
  pubsub,
  type Receiver,
  redeemGoogle,
  redeemMicrosoft,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

const adele = 'adele@contoso.test'
const gita = 'gita@flow.test'
const minute = 60_000
const api = 'https://www.googleapis.com/auth'
let receiver: Receiver
let simulators: Simulators
let graphToken: string
let googleToken: string

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
})
beforeEach(async () => {
  await tell('/reset', { redeliveries: true })
  await tell('/clock', { offsetMs: 0 })
  receiver.received.length = 0
  receiver.answer = { status: 202 }
  const scope = 'openid offline_access Mail.Read Calendars.Read Contacts.Read Files.ReadWrite.All'
  const asked = await consent(simulators, microsoftAuthUrl(simulators, { scope }), adele)
  graphToken = (await redeemMicrosoft(simulators, asked.parameters.get('code') ?? '')).json.access_token
  const url = googleAuthUrl(simulators, {
    scope: `openid email ${api}/drive ${api}/calendar ${api}/gmail.readonly`,
  })
  const { parameters } = await consent(simulators, url, gita)
  googleToken = (await redeemGoogle(simulators, parameters.get('code') ?? '')).json.access_token
  for (const { id, resourceId } of (await state()).google.channels)
    await google('/drive/v3/channels/stop', { id, resourceId })
  receiver.received.length = 0
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const tell = async (path: string, body: unknown): Promise<Json> =>
  (await control(simulators).post(path, body)).json
const state = async (): Promise<Json> => (await control(simulators).get('/state')).json
const graph = (method: string, tail: string, body?: unknown) =>
  call(
    `${simulators.microsoftUrl}/v1.0/subscriptions${tail}`,
    withBearer(graphToken, body === undefined ? { method } : { method, body: JSON.stringify(body) }),
  )
const google = (path: string, body: unknown) =>
  call(simulators.googleUrl + path, withBearer(googleToken, { method: 'POST', body: JSON.stringify(body) }))
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * minute).toISOString()
const subscribe = (resource: string, minutes: number, more: object = {}) =>
  graph('POST', '', {
    changeType: resource.includes('drive') ? 'updated' : 'created',
    notificationUrl: `${receiver.url}/notify`,
    resource,
    expirationDateTime: inMinutes(minutes),
    clientState: 'state-1',
    ...more,
  })
const endAll = async () => {
  for (const { id } of (await graph('GET', '')).json.value) await graph('DELETE', `/${id}`)
}

describe('Graph', () => {
  test.each([
    ['me/messages', 10_080],
    ["me/mailFolders('inbox')/messages", 10_080],
    ['me/events', 10_080],
    ['me/contacts', 10_080],
    ['me/drive/root', 42_300],
  ])('%s lives for %d minutes at most, made or renewed', async (resource, longest) => {
    expect((await subscribe(resource, longest + 1)).status).toBe(400)
    const { status, json } = await subscribe(resource, longest - 1)
    expect(status).toBe(201)
    const renew = (minutes: number) =>
      graph('PATCH', `/${json.id}`, { expirationDateTime: inMinutes(minutes) })
    const refused = await renew(longest + 1)
    expect([refused.status, refused.json.error.message]).toEqual([400, expect.stringMatching(/expiration/i)])
    expect((await renew(longest - 1)).status).toBe(200)
    // and is raised to 45 minutes at least
    const raised = Date.parse((await renew(5)).json.expirationDateTime) - Date.now()
    expect(Math.round(raised / minute)).toBe(45)
    await endAll()
  })

  test('what waits for a token is sent for four hours, then it is lost', async () => {
    const { id } = (await subscribe('me/messages', 1_000)).json
    await tell('/faults', { provider: 'microsoft', pauseOnTokenExpiry: true })
    await tell('/clock', { advanceMs: 100 * minute })
    await tell('/message', { provider: 'microsoft', account: adele })
    receiver.received.length = 0
    await tell('/clock', { advanceMs: 4 * 60 * minute + 1 })
    const { grants } = await tell('/grants', {
      provider: 'microsoft',
      account: adele,
      scopes: ['openid', 'offline_access', 'Mail.Read'],
      count: 1,
    })
    graphToken = grants[0].access_token
    expect((await graph('POST', `/${id}/reauthorize`)).status).toBe(204)
    expect((await state()).microsoft.held).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(receiver.received).toEqual([])
    await endAll()
  })

  test('a mailbox has a thousand subscriptions at most', async () => {
    await tell('/faults', { provider: 'microsoft', duplicateSubscriptions: true })
    for (let made = 0; made < 1_000; made += 50) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => subscribe('me/messages', 60)))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    }
    const { status, json } = await subscribe('me/messages', 60)
    expect([status, json.error.message]).toEqual([403, expect.stringMatching(/limit/i)])
    // room is made by those that end by themselves
    await tell('/clock', { advanceMs: 61 * minute })
    expect((await state()).microsoft.subscriptions).toEqual([])
  }, 60_000)
})

describe('Google', () => {
  const channel = (path: string, more: object = {}) =>
    google(path, { id: randomUUID(), type: 'web_hook', address: `${receiver.url}/hook`, ...more })
  const events = '/calendar/v3/calendars/primary/events/watch'

  test.each([
    ['/drive/v3/changes/watch?pageToken=1', 3_600, 604_800],
    ['/drive/v3/files/FILE/watch', 3_600, 86_400],
    [events, 604_800, 2_592_000],
    ['/calendar/v3/users/me/calendarList/watch', 604_800, 2_592_000],
  ])('%s gives %d seconds without a wish, and %d at most', async (path, usual, longest) => {
    const { item } = (await tell('/change', { provider: 'google', account: gita, what: 'file' })).change
    const seconds = async (more: object = {}) => {
      const { status, json } = await channel(path.replace('FILE', item.id), more)
      expect(status).toBe(200)
      return Math.round((Number(json.expiration) - Date.now()) / 1_000)
    }
    expect(await seconds()).toBeCloseTo(usual, -1)
    expect(await seconds({ params: { ttl: String(longest * 2) } })).toBeCloseTo(longest, -1)
    expect(await seconds({ expiration: Date.now() + longest * 2_000 })).toBeCloseTo(longest, -1)
    expect(await seconds({ params: { ttl: '1200' } })).toBeCloseTo(1_200, -1)
  })

  test('a watch of a mailbox lives for seven days, whenever it is made again', async () => {
    const days = async () => {
      const { json } = await google('/gmail/v1/users/me/watch', { topicName: pubsub.topic })
      return (Number(json.expiration) - Date.now()) / 86_400_000
    }
    expect(await days()).toBeCloseTo(7, 2)
    await tell('/clock', { advanceMs: 40 * minute })
    expect(await days()).toBeCloseTo(7 + 40 / 1_440, 3)
    await google('/gmail/v1/users/me/stop', undefined)
  })

  const attempts = async (send: () => Promise<unknown>, status: number) => {
    receiver.received.length = 0
    receiver.answer = (_request, count) => ({ status: count === 1 ? status : 200 })
    await send()
    await new Promise((resolve) => setTimeout(resolve, 300))
    return receiver.received.length
  }

  test('a channel: 500, 502, 503 and 504 are repeated; 200, 201, 202 and 204 are success; all else is lost', async () => {
    await channel(events)
    await receiver.waitFor(1)
    const change = () => tell('/change', { provider: 'google', account: gita, what: 'event' })
    const counted: [number, number][] = []
    const rows = [200, 201, 202, 204, 500, 502, 503, 504, 301, 400, 401, 403, 404, 408, 410, 429, 501, 505]
    for (const status of rows) counted.push([status, await attempts(change, status)])
    expect(counted).toEqual(rows.map((status) => [status, [500, 502, 503, 504].includes(status) ? 2 : 1]))
  }, 30_000)

  test('Pub/Sub: 200, 201, 202 and 204 acknowledge; everything else is repeated', async () => {
    await google('/gmail/v1/users/me/watch', { topicName: pubsub.topic })
    await receiver.waitFor(1)
    const mail = () => tell('/message', { provider: 'google', account: gita })
    const counted: [number, number][] = []
    const rows = [200, 201, 202, 204, 203, 206, 301, 400, 401, 403, 404, 429, 500, 503]
    for (const status of rows) counted.push([status, await attempts(mail, status)])
    expect(counted).toEqual(rows.map((status) => [status, [200, 201, 202, 204].includes(status) ? 1 : 2]))
    await google('/gmail/v1/users/me/stop', undefined)
  }, 30_000)
})
