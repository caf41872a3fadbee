/** Drive's and Calendar's channels and resources against protocols/google.md §4. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  consent,
  control,
  googleAuthUrl,
  type Json,
  type Receiver,
  redeemGoogle,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let token: string
const gita = 'gita@flow.test'
const api = 'https://www.googleapis.com/auth'

async function tokenOf(account: string): Promise<string> {
  const url = googleAuthUrl(simulators, { scope: `openid email ${api}/drive ${api}/calendar` })
  const { parameters } = await consent(simulators, url, account)
  return (await redeemGoogle(simulators, parameters.get('code') ?? '')).json.access_token
}

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
  token = await tokenOf(gita)
})
beforeEach(async () => {
  await tell('/reset', { redeliveries: true })
  await tell('/clock', { offsetMs: 0 })
  for (const { id, resourceId } of (await control(simulators).get('/state')).json.google.channels) {
    await ask('POST', '/drive/v3/channels/stop', { id, resourceId })
  }
  receiver.received.length = 0
  receiver.answer = { status: 200 }
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const tell = async (path: string, body: unknown): Promise<Json> =>
  (await control(simulators).post(path, body)).json
const ask = (method: string, path: string, body?: unknown, bearer = token) =>
  call(
    simulators.googleUrl + path,
    withBearer(bearer, body === undefined ? { method } : { method, body: JSON.stringify(body) }),
  )
const change = (what: string, more: Record<string, unknown> = {}) =>
  tell('/change', { provider: 'google', account: gita, what, ...more })
const states = () => receiver.received.map((request) => request.headers['x-goog-resource-state'])
const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function watch(path: string, more: Record<string, unknown> = {}): Promise<Json> {
  const id = randomUUID()
  const address = `${receiver.url}/hook/${id}`
  const { status, json } = await ask('POST', path, {
    id,
    type: 'web_hook',
    address,
    token: 'secret-1',
    ...more,
  })
  expect(status).toBe(200)
  await receiver.waitFor(1)
  return json
}
const events = '/calendar/v3/calendars/primary/events'

test('a watch sends sync as number 1 with all headers and no body, and a change grows the number', async () => {
  const channel = await watch('/drive/v3/changes/watch?pageToken=1')
  expect(channel).toMatchObject({
    kind: 'api#channel',
    token: 'secret-1',
    expiration: expect.stringMatching(/^\d{13}$/),
  })
  const [sync] = receiver.received
  expect([sync?.method, sync?.body, sync?.headers['content-length']]).toEqual(['POST', '', '0'])
  expect(sync?.headers).toMatchObject({
    'x-goog-channel-id': channel.id,
    'x-goog-channel-token': 'secret-1',
    'x-goog-message-number': '1',
    'x-goog-resource-id': channel.resourceId,
    'x-goog-resource-state': 'sync',
    'x-goog-resource-uri': channel.resourceUri,
  })
  expect(sync?.headers.authorization).toBeUndefined()
  expect(sync?.headers['content-type']).toBeUndefined()
  await change('file', { name: 'report' })
  await change('file', { name: 'second' })
  expect(states()).toEqual(['sync', 'change', 'change'])
  const numbers = receiver.received.map((request) => Number(request.headers['x-goog-message-number']))
  expect(numbers[1]).toBeGreaterThan(1)
  expect(numbers[2]).toBeGreaterThan(numbers[1] ?? 0)
})

test('with syncFirst the sync message has arrived before the watch call is answered', async () => {
  await tell('/faults', { provider: 'google', syncFirst: true, expirationAs: 'number' })
  receiver.answer = { status: 200, delayMs: 150 }
  const began = Date.now()
  const channel = await watch(`${events}/watch`)
  expect(Date.now() - began).toBeGreaterThanOrEqual(145)
  expect(typeof channel.expiration).toBe('number')
})

test('lifetimes have a default and a maximum per resource, and an expired channel is silent', async () => {
  const now = Date.now()
  const hours = async (path: string, more: Record<string, unknown> = {}) =>
    Math.round((Number((await watch(path, more)).expiration) - now) / 360_000) / 10
  const far = { expiration: now + 400 * 86_400_000 }
  const { change: made } = await change('file')
  expect(await hours('/drive/v3/changes/watch?pageToken=1')).toBe(1)
  expect(await hours('/drive/v3/changes/watch?pageToken=1', far)).toBe(168)
  expect(await hours(`/drive/v3/files/${made.item.id}/watch`, far)).toBe(24)
  expect(await hours(`${events}/watch`)).toBe(168)
  expect(await hours(`${events}/watch`, { params: { ttl: '7200' } })).toBe(2)
  await tell('/clock', { advanceMs: 7_200_001 })
  const { channels } = (await control(simulators).get('/state')).json.google
  expect(channels).toHaveLength(3)
})

test('statuses of the documented list are retried, every other refusal loses the notification', async () => {
  await watch(`${events}/watch`)
  receiver.received.length = 0
  receiver.answer = (_request, count) => ({ status: count < 3 ? 503 : 204 })
  await change('event')
  await receiver.waitFor(3)
  expect(new Set(receiver.received.map((one) => one.headers['x-goog-message-number'])).size).toBe(1)
  for (const status of [401, 404, 429, 501]) {
    receiver.received.length = 0
    receiver.answer = { status }
    await change('event')
    await rest(300)
    expect(receiver.received).toHaveLength(1)
  }
})

test('a channel id is good once; type, token, address and expiry are judged', async () => {
  const { id } = await watch(`${events}/watch`)
  const refusal = async (more: Record<string, unknown>) => {
    const body = { id: randomUUID(), type: 'web_hook', address: receiver.url, ...more }
    const { status, json } = await ask('POST', `${events}/watch`, body)
    return [status, json.error?.errors[0].reason]
  }
  expect(await refusal({ id })).toEqual([400, 'channelIdNotUnique'])
  expect(await refusal({ type: 'email' })).toEqual([400, 'push.channelTypeNotSupported'])
  expect(await refusal({ address: 'http://example.com/' })).toEqual([400, 'push.webhookUrlNotHttps'])
  expect(await refusal({ token: 'x'.repeat(257) })).toEqual([400, 'push.invalidChannelToken'])
  expect(await refusal({ id: 'x'.repeat(65) })).toEqual([400, 'channelIdInvalid'])
  expect(await refusal({ expiration: 1_000 })).toEqual([400, 'push.channelExpirationInvalid'])
})

test('only the same user stops a channel, with both ids; a late notification of a stopped one is possible', async () => {
  const { id, resourceId } = await watch(`${events}/watch`)
  const stop = (body: unknown, bearer = token) =>
    ask('POST', '/calendar/v3/channels/stop', body, bearer).then((answer) => answer.status)
  expect(await stop({ id, resourceId }, await tokenOf('hugo@flow.test'))).toBe(404)
  expect(await stop({ id, resourceId: 'wrong' })).toBe(404)
  expect(await stop({ id, resourceId })).toBe(204)
  expect(await stop({ id, resourceId })).toBe(404)
  receiver.received.length = 0
  await change('event')
  expect(receiver.received).toHaveLength(0)
  await tell('/channel', { provider: 'google', account: gita, channelId: id, state: 'exists' })
  expect(states()).toEqual(['exists'])
})

test('forged notifications differ in what they name and come once', async () => {
  const { id, resourceId } = await watch(`${events}/watch`)
  receiver.answer = { status: 503 }
  const forged = async (forge: string) => {
    receiver.received.length = 0
    await tell('/channel', { provider: 'google', account: gita, channelId: id, forge })
    await rest(260)
    expect(receiver.received).toHaveLength(1)
    const headers = receiver.received[0]?.headers ?? {}
    return [
      headers['x-goog-channel-id'] === id,
      headers['x-goog-resource-id'] === resourceId,
      headers['x-goog-channel-token'],
    ]
  }
  expect(await forged('noToken')).toEqual([true, true, undefined])
  expect(await forged('token')).toEqual([true, true, expect.stringMatching(/^forged-/)])
  expect(await forged('resource')).toEqual([true, false, 'secret-1'])
  expect(await forged('unknown')).toEqual([false, true, 'secret-1'])
})

test('Drive changes are read from a page token that never ends, and a file channel names its states', async () => {
  const { startPageToken } = (await ask('GET', '/drive/v3/changes/startPageToken')).json
  const one = (await change('file', { name: 'one' })).change.item
  const two = (await change('file', { name: 'two' })).change.item
  const first = (await ask('GET', `/drive/v3/changes?pageToken=${startPageToken}&pageSize=1`)).json
  expect(first.changes.map((item: Json) => item.fileId)).toEqual([one.id])
  expect(first).not.toHaveProperty('newStartPageToken')
  const last = (await ask('GET', `/drive/v3/changes?pageToken=${first.nextPageToken}`)).json
  expect(last.changes).toMatchObject([{ fileId: two.id, removed: false, file: { name: 'two' } }])
  await watch(`/drive/v3/files/${one.id}/watch`)
  await change('file', { id: two.id })
  await change('file', { id: one.id, name: 'renamed' })
  await change('file', { id: one.id, remove: true })
  expect(states()).toEqual(['sync', 'update', 'trash'])
  expect(receiver.received[1]?.headers['x-goog-changed']).toBe('content,properties')
  const after = (await ask('GET', `/drive/v3/changes?pageToken=${last.newStartPageToken}`)).json
  expect(after.changes.map((item: Json) => [item.fileId, item.removed])).toEqual([
    [two.id, false],
    [one.id, true],
  ])
})

test('events are listed by sync token, with deletions, until the token is too old: 410', async () => {
  const { item } = (await change('event', { name: 'Meeting' })).change
  const full = (await ask('GET', events)).json
  expect(full.items.at(-1)).toMatchObject({ id: item.id, summary: 'Meeting', status: 'confirmed' })
  await change('event', { id: item.id, remove: true })
  const since = await ask('GET', `${events}?syncToken=${full.nextSyncToken}`)
  expect(since.json.items).toEqual([{ kind: 'calendar#event', id: item.id, status: 'cancelled' }])
  expect((await ask('GET', `${events}?syncToken=${full.nextSyncToken}&q=x`)).status).toBe(400)
  await tell('/faults', { provider: 'google', historyExpired: true })
  const gone = await ask('GET', `${events}?syncToken=${full.nextSyncToken}`)
  expect([gone.status, gone.json.error.errors[0].reason]).toEqual([410, 'fullSyncRequired'])
  const calendars = (await ask('GET', '/calendar/v3/users/me/calendarList')).json.items
  expect(calendars).toMatchObject([{ id: gita, primary: true }])
})

test('a channel whose answer is lost lives and sends its sync message; a muted one lives and is silent', async () => {
  await tell('/faults', { provider: 'google', leaseLost: 1 })
  const lost = { id: randomUUID(), type: 'web_hook', address: `${receiver.url}/hook/lost`, token: 'secret-1' }
  await expect(ask('POST', '/drive/v3/changes/watch?pageToken=1', lost)).rejects.toThrow()
  await receiver.waitFor(1)
  expect(states()).toEqual(['sync'])
  await change('file')
  expect(states()).toEqual(['sync', 'change'])
  expect(await tell('/mute', { provider: 'google', account: gita, id: lost.id })).toEqual({ muted: lost.id })
  await change('file')
  expect(states()).toEqual(['sync', 'change'])
  expect((await control(simulators).get('/state')).json.google.channels).toHaveLength(1)
})
