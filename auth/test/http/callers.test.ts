/** Named callers at the doors: what they may do, to which connections, and how their credentials are changed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { PERMISSIONS, type Permission } from '../../src/callers/caller.ts'
import { createCaller, revokeCaller, rotateCaller } from '../../src/callers/callers.ts'
import { ALL_CONNECTIONS, type ConnectionScope } from '../../src/db/connection-scope.ts'
import { sql } from '../../src/db/sql.ts'
import { digestOfTables, openWorld, type World } from '../world.ts'
import { type Person, signIn, until } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, pathOf, sampleOf } from './route-list.ts'
import { type Answer, ask, askJson, json } from './wire.ts'

let world: World
let routes: ListedRoute[]
let mine: Seeded
let other: Seeded
let admin: Person
let count = 0

beforeAll(async () => {
  world = await openWorld({ instances: 2 })
  routes = await listRoutes(world.internalPort)
  mine = await seedSubscription(world.database.url, world.encryptionKey, 'mine@example.com')
  other = await seedSubscription(world.database.url, world.encryptionKey, 'other@example.com')
  admin = await signIn(world, 'admin@example.com', 'admin')
  for (const seeded of [mine, other])
    await ask(world.publicPort, { method: 'POST', path: seeded.path, body: seeded.notification('1') })
})
afterAll(() => world.close())

const NOTHING: ConnectionScope = { kind: 'limited', providers: [], users: [], connections: [] }
const limited = (limits: Partial<Extract<ConnectionScope, { kind: 'limited' }>>): ConnectionScope => ({
  ...NOTHING,
  ...limits,
  kind: 'limited',
})

async function made(permissions: readonly Permission[], scope: ConnectionScope = ALL_CONNECTIONS) {
  count += 1
  const name = `caller-${count}`
  const creation = await createCaller({ db: world.db }, { name, permissions, scope }, 'admin-cli')
  if (creation.kind !== 'created') throw new Error(creation.kind)
  return { name, token: creation.token, headers: { 'x-service-token': creation.token } }
}

const get = (path: string, headers: Record<string, string>, instance = 0) =>
  ask(world.instances[instance]?.internalPort ?? 0, { path, headers })
const tokenOf = (id: string, headers: Record<string, string>, body: unknown = {}) =>
  askJson(world.internalPort, 'POST', `/internal/connections/${id}/token`, headers, body)
const idsOf = (answer: Answer) => (json(answer) as { items: { id: string }[] }).items.map(({ id }) => id)
const problemOf = (answer: Answer) => (json(answer) as { error: string }).error
const call = (route: ListedRoute, headers: Record<string, string>) =>
  ask(world.internalPort, {
    method: route.method,
    path: pathOf(route),
    headers: { ...headers, ...(route.hasBody ? { 'content-type': 'application/json' } : {}) },
    ...(route.hasBody ? { body: JSON.stringify(sampleOf(route)) } : {}),
  })
const audited = (actor: string) =>
  world.db.rows<{ action: string; subject: string; detail: Record<string, unknown> }>(
    sql`select action, subject, detail from auth.audit where actor = ${actor} order by id`,
  )

describe('permissions', () => {
  test('IA-07 every permission opens the routes that name it and no other; a denial is 403 and audited', async () => {
    for (const permission of PERMISSIONS) {
      const caller = await made([permission])
      let denied = 0
      for (const route of routes.filter(({ access }) => access !== 'public')) {
        if (route.permission === permission) {
          const { status } = await call(route, caller.headers)
          expect([permission, nameOf(route), [401, 403, 500].includes(status)]).toEqual([
            permission,
            nameOf(route),
            false,
          ])
          continue
        }
        denied += 1
        const answer = await call(route, caller.headers)
        expect([permission, nameOf(route), answer.status, problemOf(answer)]).toEqual([
          permission,
          nameOf(route),
          403,
          'permission_required',
        ])
      }
      const entries = (await audited(`caller:${caller.name}`)).filter(
        ({ action }) => action === 'caller.denied',
      )
      expect(entries).toHaveLength(denied)
    }
  })

  test('IA-07 a person’s session beside a caller’s token opens nothing more', async () => {
    const caller = await made([...PERMISSIONS])
    for (const route of routes.filter(({ access, permission }) => access !== 'public' && !permission)) {
      const headers = { ...caller.headers, 'x-session-token': admin.headers['x-session-token'] ?? '' }
      expect([nameOf(route), (await call(route, headers)).status]).toEqual([nameOf(route), 403])
    }
    const session = { 'x-session-token': admin.headers['x-session-token'] ?? '' }
    const list = await get('/internal/connections', {
      ...(await made(['connections:read'], NOTHING)).headers,
      ...session,
    })
    expect(idsOf(list)).toEqual([])
  })

  test('IA-07 the audit of a denial names the connection, the route and the permission, and no token', async () => {
    const caller = await made(['connections:read'])
    expect((await tokenOf(mine.connectionId, caller.headers)).status).toBe(403)
    expect(await audited(`caller:${caller.name}`)).toEqual([
      {
        action: 'caller.denied',
        subject: mine.connectionId,
        detail: { route: 'POST /internal/connections/:id/token', permission: 'tokens:read' },
      },
    ])
    expect(world.lines.join('\n')).not.toContain(caller.token)
  })
})

describe('connections', () => {
  const scopes: [string, () => ConnectionScope, () => string[]][] = [
    ['nothing', () => NOTHING, () => []],
    ['all', () => ALL_CONNECTIONS, () => [mine.connectionId, other.connectionId]],
    ['one connection', () => limited({ connections: [mine.connectionId] }), () => [mine.connectionId]],
    ['one user', () => limited({ users: [other.ownerId] }), () => [other.connectionId]],
    [
      'its provider',
      () => limited({ providers: ['microsoft'] }),
      () => [mine.connectionId, other.connectionId],
    ],
    ['another provider', () => limited({ providers: ['google'] }), () => []],
    [
      'a user and another provider',
      () => limited({ users: [mine.ownerId], providers: ['google'] }),
      () => [],
    ],
    [
      'a user and somebody else’s connection',
      () => limited({ users: [mine.ownerId], connections: [other.connectionId] }),
      () => [],
    ],
  ]

  test.each(scopes)(
    'IA-05 a caller for %s sees these and nothing else, in each room',
    async (_, scope, seen) => {
      const caller = await made(['connections:read', 'events:read', 'tokens:read'], scope())
      expect(idsOf(await get('/internal/connections', caller.headers)).sort()).toEqual([...seen()].sort())
      const events = json(await get('/internal/events', caller.headers)) as {
        items: { id: string; connection_id: string }[]
      }
      expect(events.items.map((event) => event.connection_id).sort()).toEqual([...seen()].sort())
      const all = json(await get('/internal/events', admin.headers)) as typeof events
      for (const event of all.items) {
        const visible = seen().includes(event.connection_id)
        const { status } = await get(`/internal/events/${event.id}`, caller.headers)
        expect([event.connection_id, status]).toEqual([event.connection_id, visible ? 200 : 404])
        const after = await get(`/internal/events?after=${event.id}`, caller.headers)
        expect(after.status).toBe(visible ? 200 : 400)
      }
      for (const of of [mine, other]) {
        const visible = seen().includes(of.connectionId)
        // the seeded connections hold no token: 409 is the answer of a connection that the caller may know
        const byId = await tokenOf(of.connectionId, caller.headers)
        const byUser = await get(
          `/internal/oauth/token?user_id=${of.ownerId}&provider=microsoft`,
          caller.headers,
        )
        expect([byId.status, byUser.status]).toEqual(visible ? [409, 409] : [404, 404])
      }
    },
  )

  test('IA-05 a foreign connection and one that never was are the same answer, and nothing has changed', async () => {
    const caller = await made(['tokens:read'], limited({ connections: [mine.connectionId] }))
    const before = await digestOfTables(world.db)
    const foreign = await tokenOf(other.connectionId, caller.headers)
    const unknown = await tokenOf(`con_${'a'.repeat(26)}`, caller.headers)
    expect([foreign.status, foreign.text]).toEqual([404, unknown.text])
    expect(await digestOfTables(world.db)).toEqual(before)
  })
})

describe('credentials', () => {
  const works = async (token: string, instance = 0) =>
    (await get('/internal/connections', { 'x-service-token': token }, instance)).status === 200

  test('IA-03 after a rotation two tokens are valid, after the overlap one, in every process and without a restart', async () => {
    const caller = await made(['connections:read'])
    const rotate = async (overlapSeconds: number) => {
      const rotated = await rotateCaller({ db: world.db }, { name: caller.name, overlapSeconds }, 'admin-cli')
      if (rotated.kind !== 'rotated') throw new Error(rotated.kind)
      return rotated
    }
    const second = await rotate(3_600)
    expect(second.earlierUntil?.getTime()).toBeGreaterThan(Date.now() + 3_500_000)
    for (const instance of [0, 1])
      expect([await works(caller.token, instance), await works(second.token, instance)]).toEqual([true, true])
    const third = await rotate(3_600)
    await until('the first of three is refused', async () => !(await works(caller.token)))
    expect([await works(second.token), await works(third.token)]).toEqual([true, true])
    await world.db.rows(
      sql`update auth.caller_tokens set expires_at = auth.clock() where expires_at > auth.clock()`,
    )
    for (const instance of [0, 1])
      await until('the earlier token is refused', async () => !(await works(second.token, instance)), 4_000)
    expect([await works(third.token, 0), await works(third.token, 1)]).toEqual([true, true])
    await rotate(0)
    await until('without overlap it ends at once', async () => !(await works(third.token)), 4_000)
  })

  test('IA-03 a revoked caller is refused within seconds by every process, and cannot be rotated', async () => {
    const caller = await made(['connections:read'])
    expect([await works(caller.token, 0), await works(caller.token, 1)]).toEqual([true, true])
    expect(await revokeCaller({ db: world.db }, caller.name, 'admin-cli')).toEqual({ kind: 'revoked' })
    for (const instance of [0, 1])
      await until('the token is refused', async () => !(await works(caller.token, instance)), 4_000)
    expect(await revokeCaller({ db: world.db }, caller.name, 'admin-cli')).toEqual({ kind: 'unknown' })
    const again = { name: caller.name, overlapSeconds: 0 }
    expect(await rotateCaller({ db: world.db }, again, 'admin-cli')).toEqual({ kind: 'unknown' })
    const wanted = { name: caller.name, permissions: ['proxy'] as const, scope: NOTHING }
    expect(await createCaller({ db: world.db }, wanted, 'admin-cli')).toEqual({ kind: 'name_taken' })
  })

  test('IA-01 no token of a caller is stored: only its SHA-256', async () => {
    const caller = await made(['proxy'])
    const rows = await world.db.rows<{ dump: string }>(
      sql`select t::text dump from auth.caller_tokens t union all select c::text from auth.callers c`,
    )
    const dump = rows.map((row) => row.dump).join('\n')
    expect(dump).not.toContain(caller.token.slice(4))
    expect(dump).not.toContain(Buffer.from(caller.token).toString('hex'))
    expect(dump).toContain(caller.name)
  })

  test('IA-01 guessing tokens of callers: 401, then 429 and an alarm; a right token works on', async () => {
    const fresh = await openWorld()
    try {
      const guess = () =>
        ask(fresh.internalPort, {
          path: '/internal/connections',
          headers: { 'x-service-token': `fcs_${crypto.randomUUID().replaceAll('-', '')}aaaaaaaaaaa` },
        })
      const statuses: number[] = []
      for (let i = 0; i < 25; i += 1) statuses.push((await guess()).status)
      expect(statuses).toEqual([...Array(20).fill(401), ...Array(5).fill(429)])
      expect(fresh.lines.filter((line) => line.includes('alarm:'))).toHaveLength(1)
      const wanted = { name: 'n8n', permissions: ['connections:read'] as const, scope: ALL_CONNECTIONS }
      const creation = await createCaller({ db: fresh.db }, wanted, 'admin-cli')
      const token = creation.kind === 'created' ? creation.token : ''
      const answer = await ask(fresh.internalPort, {
        path: '/internal/connections',
        headers: { 'x-service-token': token },
      })
      expect(answer.status).toBe(200)
    } finally {
      await fresh.close()
    }
  })
})
