/** Graph subscriptions and notifications against protocols/microsoft.md §2. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { contosoTenant } from '../src/accounts.ts'
import type { Simulators } from '../src/start.ts'
import {
  call,
  connectMicrosoft,
  control,
  type Json,
  type Receiver,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let token: string
let otherToken: string

const adele = 'adele@contoso.test'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
  token = (await connectMicrosoft(simulators)).access_token
  otherToken = (await connectMicrosoft(simulators, 'bruno@contoso.test')).access_token
})
beforeEach(async () => {
  await control(simulators).post('/reset', { redeliveries: true })
  receiver.received.length = 0
  receiver.answer = { status: 202 }
  receiver.shake = (given) => ({ status: 200, headers: { 'content-type': 'text/plain' }, body: given })
})
afterEach(async () => {
  for (const subscription of (await graph('GET', '')).json.value) await graph('DELETE', `/${subscription.id}`)
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

function graph(method: string, tail: string, body?: unknown, bearer = token) {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
  return call(`${simulators.microsoftUrl}/v1.0/subscriptions${tail}`, withBearer(bearer, init))
}

function inMinutes(minutes: number): string {
  return new Date(Date.now() + minutes * 60_000).toISOString()
}

function create(more: Record<string, unknown> = {}, bearer = token) {
  return graph(
    'POST',
    '',
    {
      changeType: 'created',
      notificationUrl: `${receiver.url}/events/ref-1`,
      resource: "/me/mailFolders('inbox')/messages",
      expirationDateTime: inMinutes(1_000),
      clientState: 'state-of-subscription',
      ...more,
    },
    bearer,
  )
}

function message(subject = 'Hello') {
  return control(simulators).post('/message', { provider: 'microsoft', account: adele, subject })
}

test('create shakes hands live, exactly as captured, with both URLs, and keeps their query', async () => {
  const created = await create({
    notificationUrl: `${receiver.url}/events/ref-1?c=1`,
    lifecycleNotificationUrl: `${receiver.url}/lifecycle`,
  })
  expect(created.status).toBe(201)
  expect(created.json).toMatchObject({ clientState: 'state-of-subscription', changeType: 'created' })
  const [first, second] = receiver.received
  expect(first?.method).toBe('POST')
  expect(first?.url).toMatch(
    /^\/events\/ref-1\?c=1&validationToken=Validation%3a\+Testing\+client\+application\+reachability\+for\+subscription\+Request-Id%3a\+[0-9a-f-]{36}$/,
  )
  expect(first?.headers).toMatchObject({
    accept: 'text/plain',
    'content-type': 'text/plain; charset=utf-8',
    'content-length': '0',
  })
  expect(second?.url).toMatch(/^\/lifecycle\?validationToken=/)
  const { handshakes } = (await control(simulators).get('/state')).json.microsoft
  expect(handshakes.map((one: Json) => [one.kind, one.outcome])).toEqual([
    ['notification', 'passed'],
    ['lifecycle', 'passed'],
  ])
})

test('an endpoint that fails the handshake gets no subscription', async () => {
  const answers: [string, () => void][] = [
    [
      'Response must exactly match',
      () => set({ status: 200, type: 'text/plain' }, (raw) => encodeURIComponent(raw)),
    ],
    ['Content type', () => set({ status: 200, type: 'text/html' }, (raw) => raw)],
    ["HTTP status code is 'Forbidden'", () => set({ status: 403, type: 'text/plain' }, (raw) => raw)],
    ["HTTP status code is 'Accepted'", () => set({ status: 202, type: 'text/plain' }, (raw) => raw)],
  ]
  for (const [reason, prepare] of answers) {
    prepare()
    const refused = await create()
    expect(refused.status).toBe(400)
    expect(refused.json.error).toMatchObject({
      code: 'InvalidRequest',
      message: expect.stringContaining(reason),
    })
  }
  expect((await graph('GET', '')).json.value).toEqual([])

  function set(how: { status: number; type: string }, body: (raw: string) => string) {
    receiver.shake = (given) => ({
      status: how.status,
      headers: { 'content-type': how.type },
      body: body(given),
    })
  }
})

test('an endpoint slower than ten seconds times out', async () => {
  receiver.shake = (given) => ({
    status: 200,
    headers: { 'content-type': 'text/plain' },
    body: given,
    delayMs: 10_500,
  })
  const refused = await create()
  expect(refused.json.error.message).toBe('Subscription validation request timed out.')
}, 20_000)

test('lifetimes, permissions, change types and addresses are checked before the handshake', async () => {
  const raised = await create({ expirationDateTime: inMinutes(5) })
  expect(Date.parse(raised.json.expirationDateTime)).toBeGreaterThan(Date.now() + 44 * 60_000)
  receiver.received.length = 0
  expect((await create({ resource: 'me/events', expirationDateTime: inMinutes(10_081) })).status).toBe(400)
  expect((await create({ resource: 'me/drive/root', changeType: 'updated' })).status).toBe(403)
  expect((await create({ resource: 'me/messages', changeType: 'created,nonsense' })).status).toBe(400)
  expect((await create({ resource: 'me/messages', notificationUrl: 'https://example.test/' })).status).toBe(
    400,
  )
  expect((await create({ resource: 'users/somebody@else.test/messages' })).status).toBe(400)
  expect((await create({ resource: 'me/messages', clientState: 'x'.repeat(129) })).status).toBe(400)
  expect((await create({}, 'no-token')).json.error.code).toBe('InvalidAuthenticationToken')
  expect(receiver.received).toEqual([])
})

test('the same combination twice is a conflict unless the switch allows it', async () => {
  expect((await create()).status).toBe(201)
  expect((await create()).status).toBe(409)
  expect((await create({}, otherToken)).status).toBe(201)
  await control(simulators).post('/faults', { provider: 'microsoft', duplicateSubscriptions: true })
  expect((await create()).status).toBe(201)
  for (const one of (await graph('GET', '', undefined, otherToken)).json.value) {
    await graph('DELETE', `/${one.id}`, undefined, otherToken)
  }
})

test('list hides clientState, and only the maker reads, renews, reauthorizes and deletes', async () => {
  const { id } = (await create()).json
  expect((await graph('GET', '')).json.value).toMatchObject([{ id, clientState: null }])
  expect((await graph('GET', `/${id}`)).json.clientState).toBe('state-of-subscription')
  expect((await graph('GET', `/${id}`, undefined, otherToken)).json.error.code).toBe('ResourceNotFound')
  expect((await graph('DELETE', `/${id}`, undefined, otherToken)).status).toBe(404)
  const until = inMinutes(3_000)
  const renewed = await graph('PATCH', `/${id}`, { expirationDateTime: until })
  expect(Date.parse(renewed.json.expirationDateTime)).toBe(Date.parse(until))
  expect((await graph('POST', `/${id}/reauthorize`)).status).toBe(204)
  expect((await control(simulators).get('/state')).json.microsoft.reauthorizeConflicts).toBe(1)
  expect((await graph('DELETE', `/${id}`)).status).toBe(204)
  expect((await graph('DELETE', `/${id}`)).status).toBe(404)
})

test('a new mail is stored and pushed in the shape of Graph, without id or signature header', async () => {
  const { id } = (await create()).json
  receiver.received.length = 0
  const sent = await message('Budget')
  expect(sent.json.pushes).toMatchObject([{ status: 202, acknowledged: true }])
  const [push] = receiver.received
  expect(push?.headers['x-ms-signature']).toBeUndefined()
  expect(push?.headers['content-type']).toBe('application/json')
  const { value } = JSON.parse(push?.body ?? '')
  const mailId = sent.json.mail.id
  expect(value).toEqual([
    {
      subscriptionId: id,
      subscriptionExpirationDateTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$/),
      clientState: 'state-of-subscription',
      tenantId: contosoTenant,
      changeType: 'created',
      resource: expect.stringMatching(new RegExp(`^users/[^/]+@${contosoTenant}/messages/${mailId}$`)),
      resourceData: {
        '@odata.type': '#Microsoft.Graph.Message',
        '@odata.id': expect.stringContaining(`/Messages/${mailId}`),
        '@odata.etag': expect.stringMatching(/^W\/".+"$/),
        id: mailId,
      },
    },
  ])
  const list = await call(`${simulators.microsoftUrl}/v1.0/me/messages`, withBearer(token))
  expect(list.json.value[0]).toMatchObject({ id: mailId, subject: 'Budget' })
})

test('subscriptions that share a URL share one POST', async () => {
  await create()
  await create({ resource: 'me/messages' })
  receiver.received.length = 0
  await message()
  expect(receiver.received).toHaveLength(1)
  expect(JSON.parse(receiver.received[0]?.body ?? '').value).toHaveLength(2)
})

test('what is not acknowledged comes again with the same body until it is, for WI-14', async () => {
  await create()
  receiver.received.length = 0
  receiver.answer = (_request, count) => ({ status: count < 4 ? 503 : 202 })
  const sent = await message()
  expect(sent.json.pushes[0].acknowledged).toBe(false)
  const attempts = await receiver.waitFor(4)
  expect(new Set(attempts.map((attempt) => attempt.body)).size).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 300))
  const { microsoft } = (await control(simulators).get('/state')).json
  expect(microsoft.pushes).toMatchObject({ sent: 4, acknowledged: 1, failed: 3 })
  expect(microsoft.pushes.attempts.map((one: Json) => one.attempt)).toEqual([1, 2, 3, 4])
  expect(microsoft.redeliveriesWaiting).toBe(0)
})

test('the first attempt is given up after three seconds', async () => {
  await create()
  receiver.received.length = 0
  receiver.answer = (_request, count) => ({ status: 202, delayMs: count === 1 ? 4_000 : 0 })
  const sent = await message()
  expect(sent.json.pushes[0]).toMatchObject({ status: null, acknowledged: false })
  expect(sent.json.pushes[0].latencyMs).toBeGreaterThan(2_900)
  expect(sent.json.pushes[0].latencyMs).toBeLessThan(3_900)
  await receiver.waitFor(2)
}, 15_000)

test('pushes can be repeated, delayed and forged; forged ones are not repeated', async () => {
  const { id } = (await create()).json
  await message()
  receiver.received.length = 0
  const push = (more: Record<string, unknown>) =>
    control(simulators).post('/push', { provider: 'microsoft', account: adele, ...more })
  await push({ repeat: 3 })
  expect(new Set(receiver.received.map((one) => one.body)).size).toBe(1)
  expect(receiver.received).toHaveLength(3)
  await push({ delayMs: 150 })
  expect(receiver.received).toHaveLength(3)
  await receiver.waitFor(4)
  receiver.answer = { status: 500 }
  await push({ forge: 'clientState' })
  await push({ forge: 'unknownSubscription' })
  await push({ forge: 'noClientState' })
  await push({ forge: 'tenant' })
  const items = receiver.received.slice(4).map((one) => JSON.parse(one.body).value[0])
  expect(items[0].clientState).toMatch(/^forged-/)
  expect(items[1].subscriptionId).not.toBe(id)
  expect(items[2]).not.toHaveProperty('clientState')
  expect(items[3].tenantId).not.toBe(contosoTenant)
  await new Promise((resolve) => setTimeout(resolve, 400))
  expect(receiver.received).toHaveLength(8)
  expect((await push({ forge: 'nonsense' })).status).toBe(400)
})

test('lifecycle events have no changeType, and subscriptionRemoved ends the subscription', async () => {
  await create({ lifecycleNotificationUrl: `${receiver.url}/lifecycle` })
  receiver.received.length = 0
  const send = (event: string) =>
    control(simulators).post('/lifecycle', { provider: 'microsoft', account: adele, event })
  await send('missed')
  const item = JSON.parse(receiver.received[0]?.body ?? '').value[0]
  expect(receiver.received[0]?.url).toBe('/lifecycle')
  expect(item).toMatchObject({ lifecycleEvent: 'missed', clientState: 'state-of-subscription' })
  expect(item).not.toHaveProperty('changeType')
  await send('subscriptionRemoved')
  expect((await graph('GET', '')).json.value).toEqual([])
})

test('a body of the tester goes out as it is, to loopback only', async () => {
  const raw = await control(simulators).post('/graph-raw', { url: `${receiver.url}/x`, body: '{"value":[' })
  expect(raw.json.status).toBe(202)
  expect(receiver.received[0]?.body).toBe('{"value":[')
  expect(
    (await control(simulators).post('/graph-raw', { url: 'https://example.test/', body: {} })).status,
  ).toBe(400)
})

test('the switch subscriptionError answers the next calls', async () => {
  const answer = {
    status: 429,
    body: { error: { code: 'TooManyRequests' } },
    headers: { 'Retry-After': '2.128' },
    times: 1,
  }
  await control(simulators).post('/faults', { provider: 'microsoft', subscriptionError: answer })
  const refused = await create()
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2.128'])
  expect((await create()).status).toBe(201)
})

describe('switches about leases', () => {
  const faults = (switches: Record<string, unknown>) =>
    control(simulators).post('/faults', { provider: 'microsoft', ...switches })
  const held = async () => (await control(simulators).get('/state')).json.microsoft.holding
  const listed = async () => (await graph('GET', '')).json.value.length

  test('leaseLost: it is carried out, and the caller hears nothing; a refusal is told', async () => {
    await faults({ leaseLost: 1 })
    expect((await create({ resource: 'me/unknown' })).status).toBe(400)
    await expect(create()).rejects.toThrow()
    expect(await listed()).toBe(1)
    expect((await create({ changeType: 'updated' })).status).toBe(201)
  })

  test('holdLease: a call waits before it is carried out, or after it before its answer', async () => {
    for (const [at, during] of [
      ['before', 0],
      ['after', 1],
    ] as const) {
      await faults({ holdLease: { what: 'create', at } })
      const answer = create()
      while ((await held()) === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      expect(await listed()).toBe(during)
      await faults({ holdLease: null })
      const { json } = await answer
      expect(await listed()).toBe(1)
      expect(await held()).toBe(0)
      await graph('DELETE', `/${json.id}`)
    }
    expect((await faults({ holdLease: { what: 'create', at: 'noon' } })).status).toBe(400)
  })

  test('renewalError refuses renewals alone; a muted one lives on and pushes nothing', async () => {
    const { json } = await create()
    await faults({ renewalError: { status: 403, body: {}, times: 1 } })
    const renew = () => graph('PATCH', `/${json.id}`, { expirationDateTime: inMinutes(900) })
    expect([(await renew()).status, (await renew()).status]).toEqual([403, 200])
    receiver.received.length = 0
    await control(simulators).post('/mute', { provider: 'microsoft', account: adele, id: json.id })
    await message()
    expect(receiver.received).toEqual([])
    expect(await listed()).toBe(1)
    const unknown = { provider: 'microsoft', account: adele, id: 'nobody' }
    expect((await control(simulators).post('/mute', unknown)).status).toBe(400)
  })

  test('a lifecycle message of one subscription alone, told or lost', async () => {
    const url = `${receiver.url}/lifecycle`
    const first = await create({ lifecycleNotificationUrl: url })
    const second = await create({ lifecycleNotificationUrl: url, changeType: 'updated' })
    receiver.received.length = 0
    const send = (id: string, lost: boolean) =>
      control(simulators).post('/lifecycle', {
        provider: 'microsoft',
        account: adele,
        event: 'subscriptionRemoved',
        id,
        lost,
      })
    await send(first.json.id, true)
    expect([receiver.received.length, await listed()]).toEqual([0, 1])
    await send(second.json.id, false)
    expect([receiver.received.length, await listed()]).toEqual([1, 0])
  })

  test('oneStandsForMany: each consent is a mailbox of its own, with its own duplicates and its own list', async () => {
    const other = (await connectMicrosoft(simulators)).access_token
    await create()
    expect((await create({}, other)).status).toBe(409)
    await faults({ oneStandsForMany: true })
    const made = await create({}, other)
    expect(made.status).toBe(201)
    expect((await create({}, other)).status).toBe(409)
    expect((await graph('GET', '', undefined, other)).json.value).toHaveLength(1)
    await graph('DELETE', `/${made.json.id}`)
  })
})

test('calls are counted by what they are: changes, lists, and all together', async () => {
  const { json } = await create()
  await graph('GET', `/${json.id}`)
  await graph('GET', '')
  const calls = (await control(simulators).get('/calls/microsoft')).json
  expect([calls.count, calls.changes.count, calls.lists.count]).toEqual([3, 1, 1])
})
