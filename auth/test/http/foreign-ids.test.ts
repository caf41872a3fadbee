/** IA-05: every route with an id, for ids of another user, of nobody and of no form: 404, and nothing has changed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { digestOfTables, openWorld, type World } from '../world.ts'
import { addRule, openReceiver, type Person, type Receiver, signIn, until } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, sampleOf } from './route-list.ts'
import { type Answer, ask, json } from './wire.ts'

let receiver: Receiver
let world: World
let owner: Person
let stranger: Person
let admin: Person
let routes: ListedRoute[]
/** What belongs to `owner` (or, for rules and destinations, to the administrators), by the word in the path. */
let ids: Readonly<Record<string, string>>
let foreign: Seeded

beforeAll(async () => {
  receiver = await openReceiver()
  world = await openWorld({ environment: { EGRESS_ALLOW: `127.0.0.1:${receiver.port}/hook` } })
  owner = await signIn(world, 'owner@example.com')
  stranger = await signIn(world, 'stranger@example.com')
  admin = await signIn(world, 'admin@example.com', 'admin')
  const { ruleId, destinationId } = await addRule(world, admin, `http://127.0.0.1:${receiver.port}/hook`)
  const mine = await seedSubscription(world.database.url, world.encryptionKey, 'owner@example.com')
  foreign = await seedSubscription(world.database.url, world.encryptionKey, 'stranger@example.com')
  for (const seeded of [mine, foreign])
    await ask(world.publicPort, { method: 'POST', path: seeded.path, body: seeded.notification('1') })
  await until('both are delivered', () => receiver.received.length === 2)
  const rows = () =>
    world.db.rows<{ event: string; delivery: string }>(sql`
      select e.id event, o.id delivery from auth.events e join auth.delivery_outcomes o on o.event_id = e.id
       where e.connection_id = ${mine.connectionId}`)
  await until('the outcome is written', async () => (await rows()).length === 1)
  const [row] = await rows()
  const subscription = await world.db.one<{ id: string }>(
    sql`select id from auth.subscriptions where connection_id = ${mine.connectionId}`,
  )
  ids = {
    connections: mine.connectionId,
    subscriptions: subscription?.id ?? '',
    events: row?.event ?? '',
    deliveries: row?.delivery ?? '',
    destinations: destinationId,
    rules: ruleId,
  }
  // services act for no user: nothing is foreign to them
  routes = (await listRoutes(world.internalPort)).filter(
    ({ pattern, access }) => pattern.includes('{') && access !== 'service',
  )
})
afterAll(async () => {
  await world.close()
  await receiver.close()
})

const kindOf = (route: ListedRoute) => /^\/internal\/(\w+)\/\{id\}(?:\/|$)/.exec(route.pattern)?.[1] ?? ''
const call = (route: ListedRoute, person: Person, id: string): Promise<Answer> =>
  ask(world.internalPort, {
    method: route.method,
    path: route.pattern.replace('{id}', id),
    headers: { ...person.headers, ...(route.hasBody ? { 'content-type': 'application/json' } : {}) },
    ...(route.hasBody ? { body: JSON.stringify(sampleOf(route)) } : {}),
  })
const listOf = async (path: string, person: Person) => {
  const answer = await ask(world.internalPort, { path, headers: person.headers })
  return (json(answer) as { items: { id: string; connection_id?: string }[] }).items
}

/** Three of the tables move without a change of content: chores keep time, processes beat, and a delete that finds nothing counts as a revision. */
const digest = () => digestOfTables(world.db, ['chores', 'processes', 'rule_revision'])

const PREFIXES: Readonly<Record<string, Parameters<typeof newId>[0]>> = {
  connections: 'con',
  subscriptions: 'sub',
  events: 'evt',
  deliveries: 'dlv',
  destinations: 'dst',
  rules: 'rul',
}
const MALFORMED = [
  'x',
  '1',
  '0',
  '-1',
  '%20',
  '%00',
  '%0d%0a',
  '%27%20or%201=1--',
  '%22',
  '%e2%80%ae',
  '%25',
  '..%2f..%2f',
  '%2e%2e',
  '{id}',
  'undefined',
  '[object%20Object]',
  '__proto__',
  'a'.repeat(65),
  'a'.repeat(190),
  'a'.repeat(400),
]

describe('IA-05 every route with an id', () => {
  test('IA-05 is one that this test has an id for', () => {
    expect(routes.length).toBeGreaterThanOrEqual(5)
    for (const route of routes)
      expect([nameOf(route), ids[kindOf(route)]]).toEqual([nameOf(route), expect.any(String)])
  })

  test("IA-05 another user's id, an unknown one and a malformed one are alike: 404, and nothing has changed", async () => {
    const before = await digest()
    for (const route of routes) {
      const kind = kindOf(route)
      const unknown = [newId(PREFIXES[kind] ?? 'evt'), newId('flw'), (ids[kind] ?? '').toUpperCase()]
      const answers = new Set<string>()
      const people: [Person, readonly string[]][] =
        route.access === 'admin'
          ? [[admin, [...unknown, ...MALFORMED]]]
          : [
              [stranger, [ids[kind] ?? '', ...unknown, ...MALFORMED]],
              [admin, [...unknown, ...MALFORMED]],
            ]
      for (const [person, tried] of people)
        for (const id of tried) {
          const answer = await call(route, person, id)
          expect([nameOf(route), id, answer.status]).toEqual([nameOf(route), id, 404])
          answers.add((json(answer) as { error: string }).error)
        }
      expect([...answers]).toEqual(['not_found'])
    }
    expect(await digest()).toEqual(before)
  })

  test("IA-05 a user gets 403 on administrators' ids that exist, and nothing has changed", async () => {
    const before = await digest()
    for (const route of routes.filter(({ access }) => access === 'admin'))
      expect((await call(route, owner, ids[kindOf(route)] ?? '')).status).toBe(403)
    expect(await digest()).toEqual(before)
  })

  test('IA-05 lists and single reads show people their own and administrators everything', async () => {
    expect((await listOf('/internal/connections', owner)).map(({ id }) => id)).toEqual([ids.connections])
    expect((await listOf('/internal/connections', stranger)).map(({ id }) => id)).toEqual([
      foreign.connectionId,
    ])
    expect(await listOf('/internal/connections', admin)).toHaveLength(2)
    expect((await listOf('/internal/events', owner)).map(({ id }) => id)).toEqual([ids.events])
    expect((await listOf('/internal/events', stranger)).map((item) => item.connection_id)).toEqual([
      foreign.connectionId,
    ])
    expect(await listOf('/internal/events', admin)).toHaveLength(2)
    for (const route of routes.filter(({ method }) => method === 'GET'))
      for (const person of [owner, admin])
        expect((await call(route, person, ids[kindOf(route)] ?? '')).status).toBe(
          route.access === 'admin' && person === owner ? 403 : 200,
        )
  })

  test("IA-05 another user's event is no way into the list", async () => {
    const foreignEvent = (await listOf('/internal/events', stranger))[0]?.id ?? ''
    for (const after of [foreignEvent, newId('evt')]) {
      const answer = await ask(world.internalPort, {
        path: `/internal/events?after=${after}`,
        headers: owner.headers,
      })
      expect(answer.status).toBe(400)
    }
  })

  test('IA-04 headers that claim to be somebody are ignored', async () => {
    const claims = {
      'x-user-id': owner.userId,
      'x-user-role': 'admin',
      'x-tenant-id': 'x',
      'x-forwarded-user': 'admin@example.com',
      'x-http-method-override': 'GET',
    }
    const answer = await ask(world.internalPort, {
      path: '/internal/connections',
      headers: { ...stranger.headers, ...claims },
    })
    expect((json(answer) as { items: { id: string }[] }).items.map(({ id }) => id)).toEqual([
      foreign.connectionId,
    ])
  })
})
