import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openDeadLetters } from '../../src/delivery/dead-letters.ts'
import { listDeliveries } from '../../src/delivery/delivery-list-store.ts'
import { openDestinations } from '../../src/delivery/destinations.ts'
import { openEgress } from '../../src/delivery/egress.ts'
import { openDestinationHealth } from '../../src/delivery/health-store.ts'
import { openHistory } from '../../src/delivery/history-store.ts'
import { deadLetterRoutes } from '../../src/http/dead-letter-routes.ts'
import { deliveryRoutes } from '../../src/http/delivery-routes.ts'
import { destinationRoutes } from '../../src/http/destination-routes.ts'
import { eventRoutes } from '../../src/http/event-routes.ts'
import { buildInternalServer } from '../../src/http/internal-server.ts'
import type { Caller } from '../../src/http/route.ts'
import { ruleRoutes } from '../../src/http/rule-routes.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { openRuleBook } from '../../src/routing/rule-book.ts'
import { openRules } from '../../src/routing/rules.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { admissionOf } from '../http/admission-ground.ts'
import { addDelivery, addDestination, addEvent, capturedLog, vault } from './world.ts'

const SERVICE = 'service-secret-of-at-least-32-characters'
const callers: Record<string, Caller> = {
  admin: { userId: '1', role: 'admin', familyId: 'f1', email: 'admin@example.com' },
  alice: { userId: '2', role: 'user', familyId: 'f2', email: 'alice@example.com' },
}
const egress = openEgress({
  allow: [{ host: '127.0.0.1', port: 4100, pathPrefix: '/hook' }],
  lookup: async () => [{ address: '93.184.215.14', family: 4 }],
})
let t: TestDatabase
let app: FastifyInstance
let production: FastifyInstance

beforeAll(async () => {
  t = await testDatabase()
  const book = await openRuleBook(t.db)
  const rules = openRules({ db: t.db, book })
  const destinations = openDestinations({
    db: t.db,
    vault,
    egress,
    rules: { disableFor: rules.disableFor, ensureEverything: rules.ensureEverything, reload: book.reload },
  })
  const history = openHistory(t.db)
  const deadLetters = openDeadLetters({ db: t.db, nudge: { nudge: () => {} } })
  const build = (local: boolean) =>
    buildInternalServer({
      routes: [
        ...destinationRoutes({ destinations, local, sendTest: async () => ({ kind: 'unknown' }) }),
        ...ruleRoutes({ rules }),
        ...eventRoutes({ history }),
        ...deliveryRoutes({ history, listDeliveries: (query) => listDeliveries(t.db, query), deadLetters }),
        ...deadLetterRoutes({ deadLetters, destinationHealth: openDestinationHealth(t.db, monotonicMs) }),
      ],
      version: '0',
      admission: admissionOf({
        serviceSecret: SERVICE,
        session: async (token) => callers[token],
        metrics: openMetrics(),
        log: capturedLog().log,
      }),
      log: capturedLog().log,
    })
  app = await build(true)
  production = await build(false)
  for (const server of [app, production]) await server.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await app.close()
  await production.close()
  await egress.close()
  await t.close()
})

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
async function call(method: Method, url: string, as?: string, body?: object, server = app) {
  const response = await fetch(`${server.listeningOrigin}${url}`, {
    method,
    headers: {
      'x-service-token': SERVICE,
      ...(as === undefined ? {} : { 'x-session-token': as }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
}

describe('the doors of destinations and rules', () => {
  test('IA-06 a change takes only what can be changed, in its type, and answers for ids of nobody alike', async () => {
    const made = await call('POST', '/internal/destinations', 'admin', {
      name: 'changed',
      url: 'https://hook.example/in',
    })
    const path = `/internal/destinations/${(made.body as { id: string }).id}`
    const bad: readonly [string, Method, object][] = [
      ['', 'PATCH', {}],
      ['', 'PATCH', { secret: 'mine' }],
      ['', 'PATCH', { disabled_at: null }],
      ['', 'PATCH', { name: ['n'] }],
      ['', 'PATCH', { concurrency: 0 }],
      ['', 'PATCH', { timeout_ms: 30_001 }],
      ['', 'PATCH', { headers: ['x-a: b'] }],
      ['', 'PATCH', { headers: { 'x-a': 'one\ntwo' } }],
      ['', 'PATCH', { retry_schedule: ['5'] }],
      ['/rotate-secret', 'POST', { overlap_seconds: -1 }],
      ['/rotate-secret', 'POST', { overlap: 1 }],
      ['/test', 'POST', { to: 'https://evil.example/' }],
      ['/test', 'POST', { url: 'https://evil.example/' }],
    ]
    for (const [suffix, method, body] of bad)
      expect([suffix, body, (await call(method, path + suffix, 'admin', body)).status]).toEqual([
        suffix,
        body,
        400,
      ])
    const changed = await call('PATCH', path, 'admin', { name: 'other', headers: { 'X-A': 'b' } })
    expect(changed).toMatchObject({
      status: 200,
      body: { name: 'other', header_names: ['x-a'], state: 'active' },
    })
    expect((await call('PATCH', path, 'alice', { name: 'hers' })).status).toBe(403)
    expect((await call('POST', `${path}/pause`, 'admin')).body).toMatchObject({ state: 'paused' })
    expect((await call('POST', `${path}/resume`, 'admin')).body).toMatchObject({ state: 'active' })
    expect((await call('GET', path, 'admin')).body).toMatchObject({ name: 'other' })
    const rotated = await call('POST', `${path}/rotate-secret`, 'admin', {})
    expect(rotated).toMatchObject({ status: 200, body: { secret: expect.stringMatching(/^whsec_/) } })
    expect(await call('POST', `${path}/rotate-secret`, 'admin', {})).toMatchObject({
      status: 409,
      body: { error: 'rotation_running' },
    })
    const nobody = `/internal/destinations/${newId('dst')}`
    for (const [method, suffix, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { name: 'x' }],
      ['POST', '/pause', undefined],
      ['POST', '/resume', undefined],
      ['POST', '/rotate-secret', {}],
      ['POST', '/test', {}],
    ] as const)
      expect((await call(method, nobody + suffix, 'admin', body)).status).toBe(404)
    await call('DELETE', path, 'admin')
  })

  test('create, list and delete; the secret is shown once', async () => {
    const made = await call('POST', '/internal/destinations', 'admin', {
      name: 'hook',
      url: 'https://hook.example/in',
      concurrency: 3,
    })
    expect(made.status).toBe(201)
    expect(made.body).toEqual({
      id: expect.stringMatching(/^dst_/),
      name: 'hook',
      url: 'https://hook.example/in',
      secret: expect.stringMatching(/^whsec_/),
    })
    const rule = await call('POST', '/internal/rules', 'admin', {
      name: 'mail',
      destination_id: made.body.id,
      types: ['mail.*'],
    })
    expect(rule).toEqual({
      status: 201,
      body: {
        id: expect.stringMatching(/^rul_/),
        name: 'mail',
        destination_id: made.body.id,
        types: ['mail.*'],
        providers: [],
        connections: [],
      },
    })
    expect((await call('GET', '/internal/rules', 'admin')).body).toEqual({ items: [rule.body] })
    expect((await call('GET', '/internal/destinations', 'admin')).body).toMatchObject({
      items: [
        {
          id: made.body.id,
          name: 'hook',
          url: 'https://hook.example/in',
          concurrency: 3,
          rate_per_second: null,
          timeout_ms: 15_000,
        },
      ],
    })
    expect((await call('DELETE', `/internal/destinations/${made.body.id}`, 'admin')).status).toBe(204)
    expect((await call('GET', '/internal/rules', 'admin')).body).toEqual({ items: [] })
    expect((await call('DELETE', `/internal/rules/${rule.body.id}`, 'admin')).status).toBe(204)
    expect((await call('DELETE', `/internal/rules/${rule.body.id}`, 'admin')).status).toBe(404)
  })

  test('DO-01 a destination that the guard refuses is a 422 with one fixed sentence', async () => {
    for (const url of [
      'http://169.254.169.254/',
      'https://2130706433/',
      'ftp://x/',
      'https://u:p@h.example/',
      'x',
    ]) {
      const refused = await call('POST', '/internal/destinations', 'admin', { name: 'n', url })
      expect(refused, url).toMatchObject({ status: 422, body: { error: 'egress_refused' } })
      expect(JSON.stringify(refused.body)).not.toContain('169.254')
    }
  })

  test('DO-05 stored headers and an address elsewhere are a 422 that says what to do', async () => {
    const body = { name: 'n', url: 'https://hook.example/in', headers: { 'x-key': 'canary' } }
    const made = await call('POST', '/internal/destinations', 'admin', body)
    const path = `/internal/destinations/${made.body.id}`
    const same = await call('PATCH', path, 'admin', { url: 'https://hook.example:443/other' })
    expect(same.status).toBe(200)
    const moved = { url: 'https://elsewhere.example/in' }
    expect(await call('PATCH', path, 'admin', moved)).toMatchObject({
      status: 422,
      body: { error: 'headers_needed', message: expect.stringContaining('give headers again') },
    })
    expect((await call('PATCH', path, 'admin', { ...moved, headers: {} })).status).toBe(200)
  })

  test.each([
    ['POST', '/internal/destinations', { name: 'n\u0000', url: 'https://hook.example/' }],
    ['POST', '/internal/destinations', { name: '', url: 'https://hook.example/' }],
    ['POST', '/internal/destinations', { name: 'n', url: 'https://hook.example/', extra: 1 }],
    ['POST', '/internal/destinations', { name: 'n', url: 'https://hook.example/', concurrency: '3' }],
    ['POST', '/internal/destinations', { name: 'n', url: 'https://hook.example/', timeout_ms: 99 }],
    ['POST', '/internal/rules', { name: 'n' }],
    ['POST', '/internal/rules', { name: 'n', destination_id: newId('dst'), types: ['MAIL'] }],
    ['POST', '/internal/rules', { name: 'n', destination_id: newId('dst'), connections: ['con_x'] }],
  ] as const)('%s %s with %j is a 400', async (method, url, body) => {
    expect((await call(method, url, 'admin', body)).status).toBe(400)
  })

  test('a rule for an unknown destination or with an unreadable pattern is a 422', async () => {
    const destination = await addDestination(t.db)
    const rule = (destination_id: string, types: string[]) =>
      call('POST', '/internal/rules', 'admin', { name: 'n', destination_id, types })
    expect((await rule(newId('dst'), [])).body.error).toBe('unknown_destination')
    expect((await rule('nonsense', [])).body.error).toBe('unknown_destination')
    expect((await rule(destination, ['mail.v1.x'])).body.error).toBe('invalid_pattern')
  })

  test('IA-05 only an admin gets past any of them', async () => {
    const id = await addDestination(t.db)
    const doors = [
      ['GET', '/internal/destinations'],
      ['POST', '/internal/destinations', { name: 'n', url: 'https://hook.example/' }],
      ['DELETE', `/internal/destinations/${id}`],
      ['GET', '/internal/rules'],
      ['POST', '/internal/rules', { name: 'n', destination_id: id }],
      ['DELETE', `/internal/rules/${newId('rul')}`],
    ] as const
    for (const [method, url, body] of doors) {
      expect((await call(method, url, 'alice', body)).status, `${method} ${url}`).toBe(403)
      expect((await call(method, url, 'nobody', body)).status, `${method} ${url}`).toBe(401)
      expect((await call(method, url, undefined, body)).status, `${method} ${url}`).toBe(401)
    }
    expect(await t.db.one(sql`select deleted_at from auth.destinations where id = ${id}`)).toEqual({
      deleted_at: null,
    })
  })

  test('the local destination is the same each time, and has no door outside local mode', async () => {
    const body = { url: 'http://127.0.0.1:4100/hook', name: 'receiver' }
    const first = await call('PUT', '/internal/local/destination', undefined, body)
    expect(first).toMatchObject({ status: 200, body: { secret: expect.stringMatching(/^whsec_/) } })
    expect(await call('PUT', '/internal/local/destination', undefined, body)).toEqual(first)
    expect((await call('PUT', '/internal/local/destination', undefined, body, production)).status).toBe(404)
    expect(
      (await call('PUT', '/internal/local/destination', undefined, { ...body, url: 'http://127.0.0.1:1/' }))
        .status,
    ).toBe(422)
  })
})

describe('the doors of events and deliveries', () => {
  test('IA-05 foreign and unknown ids are the same 404, and lists hold only what one owns', async () => {
    const destination = await addDestination(t.db)
    const mine = await addEvent(t.db, { ownerId: '2' })
    const foreign = await addEvent(t.db, { ownerId: '3' })
    const foreignDelivery = await addDelivery(t.db, destination, foreign)
    const myDelivery = await addDelivery(t.db, destination, mine)
    const unknown = await call('GET', `/internal/events/${newId('evt')}`, 'alice')
    expect(unknown.status).toBe(404)
    for (const id of [foreign.id, 'evt_x', '%00', `${foreign.id}%27`])
      expect(await call('GET', `/internal/events/${id}`, 'alice'), id).toEqual(unknown)
    for (const id of [foreignDelivery, newId('dlv'), '%00'])
      expect((await call('GET', `/internal/deliveries/${id}`, 'alice')).status, id).toBe(404)
    expect((await call('GET', `/internal/deliveries/${myDelivery}`, 'alice')).body.id).toBe(myDelivery)
    expect((await call('GET', `/internal/deliveries/${foreignDelivery}`, 'admin')).status).toBe(200)
    const list = await call('GET', '/internal/events', 'alice')
    expect(list.body.items.map((item: { id: string }) => item.id)).toEqual([mine.id])
    expect((await call('GET', `/internal/events?after=${foreign.id}`, 'alice')).status).toBe(400)
    const detail = await call('GET', `/internal/events/${mine.id}`, 'alice')
    expect(detail.body).toMatchObject({
      id: mine.id,
      payload: `{"id":"${mine.id}"}`,
      deliveries: [{ id: myDelivery }],
    })
  })

  test('pages by cursor and after, and refuses limits and cursors that are none', async () => {
    await t.db.rows(sql`truncate auth.events, auth.deliveries`)
    const events = []
    for (let i = 0; i < 5; i += 1)
      events.push(await addEvent(t.db, { at: new Date(Date.now() - 60_000 - i * 1_000) }))
    const first = await call('GET', '/internal/events?limit=3', 'admin')
    expect(first.body.items).toHaveLength(3)
    const second = await call('GET', `/internal/events?limit=3&cursor=${first.body.next_cursor}`, 'admin')
    expect(second.body.items).toHaveLength(2)
    expect(second.body.next_cursor).toBeUndefined()
    const newer = await call('GET', `/internal/events?after=${events[2]?.id}`, 'admin')
    expect(newer.body.items).toHaveLength(2)
    expect(
      (await call('GET', `/internal/events?after=${first.body.head_cursor}`, 'admin')).body.items,
    ).toEqual([])
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=x', 'after=x', 'other=1', 'cursor=%00'])
      expect((await call('GET', `/internal/events?${query}`, 'admin')).status, query).toBe(400)
  })
})

describe('the doors of dead letters', () => {
  test('DO-10 list, retry, count, retry all, and health, for administrators alone', async () => {
    await t.db.rows(sql`truncate auth.events, auth.deliveries`)
    const destination = await addDestination(t.db)
    const event = await addEvent(t.db)
    const one = await addDelivery(t.db, destination, event)
    for (let i = 0; i < 3; i += 1) await addDelivery(t.db, destination, event)
    await t.db.rows(sql`
      update auth.deliveries set state = 'dead', reason = 'exhausted', due_at = null, dead_at = auth.clock()`)
    const list = await call(
      'GET',
      `/internal/deliveries?state=dead&destination=${destination}&limit=3`,
      'admin',
    )
    expect(list.body.items).toHaveLength(3)
    expect(list.body.items[0]).toMatchObject({ state: 'dead', reason: 'exhausted', waiting: null })
    const rest = await call('GET', `/internal/deliveries?state=dead&cursor=${list.body.next_cursor}`, 'admin')
    expect(rest.body.items).toHaveLength(1)

    expect(await call('POST', `/internal/deliveries/${one}/retry`, 'admin')).toEqual({
      status: 200,
      body: { id: one, state: 'open', retried: true },
    })
    expect((await call('POST', `/internal/deliveries/${one}/retry`, 'admin')).body.retried).toBe(false)

    const all = `/internal/destinations/${destination}/retry-dead`
    expect((await call('GET', all, 'admin')).body).toEqual({ count: 3 })
    const asked = { expected_count: 3, idempotency_key: 'key-of-the-test' }
    expect((await call('POST', all, 'admin', { ...asked, expected_count: 2 })).body.error).toBe(
      'count_changed',
    )
    const accepted = await call('POST', all, 'admin', asked)
    expect(accepted).toMatchObject({ status: 202, body: { expected: 3, released: 0, running: true } })
    expect(await call('POST', all, 'admin', asked)).toEqual(accepted)
    expect((await call('POST', all, 'admin', { ...asked, idempotency_key: 'another-key' })).body.error).toBe(
      'retry_running',
    )
    const health = await call('GET', `/internal/destinations/${destination}/health`, 'admin')
    expect(health.body).toMatchObject({ state: 'active', dead: 3, open: 1 })
    expect(health.body.last_hour.minutes).toHaveLength(60)

    for (const [method, url] of [
      ['GET', '/internal/deliveries'],
      ['GET', all],
      ['POST', all],
      ['POST', `/internal/deliveries/${one}/retry`],
      ['GET', `/internal/destinations/${destination}/health`],
    ] as const)
      expect((await call(method, url, 'alice', method === 'POST' ? asked : undefined)).status, url).toBe(403)
  })

  test.each([
    'state=lost',
    'destination=dst_x',
    'event=x',
    'from=yesterday',
    'from=2026-02-31T25:00:00Z',
    'to=2026-01-01',
    'limit=101',
    'cursor=x',
    'owner=1',
  ])('a list by %s is a 400', async (query) => {
    expect((await call('GET', `/internal/deliveries?${query}`, 'admin')).status).toBe(400)
  })

  test('what an attempt met is for administrators: a user sees that it failed', async () => {
    const destination = await addDestination(t.db)
    const event = await addEvent(t.db, { ownerId: '2' })
    const id = await addDelivery(t.db, destination, event)
    await t.db.rows(sql`
      insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome, status, error, phases, response_headers, response_body)
      values (${id}, ${event.id}, ${destination}, 1, auth.clock(), 12, 'failed', 500, 'status_500', '{"connect":3.5}',
              ${Buffer.from('{"server":"inside"}')}, ${Buffer.from('<b>inside</b>')})`)
    const forAdmin = await call('GET', `/internal/deliveries/${id}`, 'admin')
    expect(forAdmin.body.attempts).toMatchObject([
      {
        status: 500,
        phases: { connect: 3.5 },
        response_headers: { server: 'inside' },
        response_body: '<b>inside</b>',
      },
    ])
    const forAlice = await call('GET', `/internal/deliveries/${id}`, 'alice')
    expect(forAlice.body.attempts).toMatchObject([{ number: 1, status: 500, error: 'status_500' }])
    expect(JSON.stringify(forAlice.body)).not.toContain('inside')
  })
})
