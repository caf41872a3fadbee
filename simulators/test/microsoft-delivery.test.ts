/** Graph's delivery states, pauses, lifecycle and event and drive subscriptions against protocols/microsoft.md §2. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  consent,
  control,
  type Json,
  microsoftAuthUrl,
  type Receiver,
  redeemMicrosoft,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let token: string
const adele = 'adele@contoso.test'
const day = 86_400_000

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
})
beforeEach(async () => {
  await tell('/reset', { redeliveries: true })
  await tell('/clock', { offsetMs: 0 })
  token = await connect()
  for (const { id } of (await graph('GET', '')).json.value) await graph('DELETE', `/${id}`)
  receiver.received.length = 0
  receiver.answer = { status: 202 }
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

async function connect(): Promise<string> {
  const scope = 'openid offline_access Mail.Read Files.ReadWrite.All Calendars.ReadWrite'
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators, { scope }), adele)
  return (await redeemMicrosoft(simulators, parameters.get('code') ?? '')).json.access_token
}

const tell = async (path: string, body: Record<string, unknown>): Promise<Json> =>
  (await control(simulators).post(path, body)).json
const faults = (switches: Record<string, unknown>) => tell('/faults', { provider: 'microsoft', ...switches })
const state = async (): Promise<Json> => (await control(simulators).get('/state')).json.microsoft
const mail = () => tell('/message', { provider: 'microsoft', account: adele })
const change = (what: string, more: Record<string, unknown> = {}) =>
  tell('/change', { provider: 'microsoft', account: adele, what, ...more })
const graph = (method: string, tail: string, body?: unknown) =>
  call(
    `${simulators.microsoftUrl}/v1.0/subscriptions${tail}`,
    withBearer(token, body === undefined ? { method } : { method, body: JSON.stringify(body) }),
  )
const soon = (ms: number) => new Date(Date.now() + ms).toISOString()

async function subscribe(resource = 'me/messages', more: Record<string, unknown> = {}): Promise<Json> {
  const answer = await graph('POST', '', {
    changeType: resource.includes('drive') ? 'updated' : 'created,updated,deleted',
    notificationUrl: `${receiver.url}/notify`,
    lifecycleNotificationUrl: `${receiver.url}/lifecycle`,
    resource,
    expirationDateTime: soon(day),
    clientState: 'state-1',
    ...more,
  })
  receiver.received.length = 0
  return answer.json
}

test('more than a tenth late makes an endpoint slow: new notifications come later, until probes are quick', async () => {
  await subscribe()
  await faults({ endpointStateAfter: 10, pushTimeoutsMs: [300, 3_000], slowDelayMs: 150 })
  for (let count = 0; count < 8; count += 1) await mail()
  receiver.answer = { status: 202, delayMs: 500 }
  await mail()
  receiver.answer = { status: 202 }
  await mail()
  expect(Object.values((await state()).endpoints)).toEqual(['normal'])
  receiver.answer = { status: 202, delayMs: 500 }
  await mail()
  expect(Object.values((await state()).endpoints)).toEqual(['slow'])
  receiver.answer = { status: 202 }
  await tell('/forget', {})
  receiver.received.length = 0
  expect((await mail()).pushes).toEqual([])
  expect((await state()).slowed).toBe(1)
  await receiver.waitFor(1)
  await tell('/clock', { advanceMs: 600_001 })
  for (let count = 0; count < 3; count += 1) expect((await mail()).pushes).toHaveLength(1)
  expect(Object.values((await state()).endpoints)).toEqual(['normal'])
})

test('more than fifteen hundredths late on repeats drops everything for ten minutes, for all its subscriptions', async () => {
  await subscribe()
  await subscribe('me/events', { notificationUrl: `${receiver.url}/other` })
  await faults({ endpointStateAfter: 4, pushTimeoutsMs: [30, 60] })
  receiver.answer = { status: 202, delayMs: 200 }
  await Promise.all([mail(), mail()])
  await expect
    .poll(async () => Object.values((await state()).endpoints), { timeout: 8_000 })
    .toEqual(['drop'])
  receiver.answer = { status: 202 }
  await tell('/forget', {})
  expect((await change('event')).pushes).toEqual([])
  expect((await state()).dropped).toBe(1)
})

test('deliveries wait while the token is over, and come when the subscription is renewed with a fresh one', async () => {
  const { id } = await subscribe()
  await faults({ pauseOnTokenExpiry: true })
  expect((await mail()).pushes).toHaveLength(1)
  await tell('/clock', { advanceMs: 2 * 3_600_000 })
  expect((await mail()).pushes).toEqual([])
  expect((await state()).held).toBe(1)
  receiver.received.length = 0
  token = await connect()
  expect((await graph('POST', `/${id}/reauthorize`)).status).toBe(204)
  await receiver.waitFor(1)
  expect(JSON.parse(receiver.received[0]?.body ?? '').value[0].subscriptionId).toBe(id)
  expect((await mail()).pushes).toHaveLength(1)
})

test('events carry their id and kind of change, a drive only says that something under its root changed', async () => {
  const events = await subscribe('me/events')
  const drive = await subscribe('/me/drive/root')
  const { item } = (await change('event', { name: 'Meeting' })).change
  await change('event', { id: item.id, remove: true })
  await change('file')
  const items = receiver.received.map((request) => JSON.parse(request.body).value[0])
  expect(items.map((one: Json) => [one.subscriptionId, one.changeType])).toEqual([
    [events.id, 'created'],
    [events.id, 'deleted'],
    [drive.id, 'updated'],
  ])
  expect(items[0].resourceData).toMatchObject({ '@odata.type': '#Microsoft.Graph.Event', id: item.id })
  expect(items[2]).toMatchObject({ resource: 'me/drive/root', clientState: 'state-1' })
  expect(items[2].resourceData).not.toHaveProperty('id')
})

test('the longest life is that of the resource: seven days for Outlook, near thirty for a drive', async () => {
  const status = async (resource: string, minutes: number) =>
    (await subscribe(resource, { expirationDateTime: soon(minutes * 60_000) })).error?.code ?? 'created'
  expect(await status('me/events', 10_081)).toBe('InvalidRequest')
  expect(await status('me/events', 10_079)).toBe('created')
  expect(await status('me/drive/root', 42_301)).toBe('InvalidRequest')
  expect(await status('me/drive/root', 42_299)).toBe('created')
})

test('missed and subscriptionRemoved exist for Outlook only, reauthorizationRequired for all', async () => {
  await subscribe('me/events')
  await subscribe('me/drive/root')
  const lifecycle = async (event: string) =>
    (await tell('/lifecycle', { provider: 'microsoft', account: adele, event })).pushes.length
  expect(await lifecycle('reauthorizationRequired')).toBe(2)
  expect(await lifecycle('missed')).toBe(1)
  expect(await lifecycle('subscriptionRemoved')).toBe(1)
  const left = (await graph('GET', '')).json.value
  expect(left.map((one: Json) => one.resource)).toEqual(['me/drive/root'])
})

test('the list is paged by nextLink', async () => {
  await faults({ duplicateSubscriptions: true })
  const wanted = 101
  for (let count = 0; count < wanted; count += 1) await subscribe()
  const first = (await graph('GET', '')).json
  expect(first.value).toHaveLength(100)
  const rest = (await call(first['@odata.nextLink'], withBearer(token))).json
  expect(rest.value).toHaveLength(1)
  expect(rest).not.toHaveProperty('@odata.nextLink')
  for (const { id } of rest.value) await graph('DELETE', `/${id}`)
})
