/** IA-01 in its static form, and the access that each route of the table declares, over all routes. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, pathOf, sampleOf } from './route-list.ts'
import { type Answer, ask, json } from './wire.ts'

const problemOf = (answer: Answer) => (json(answer) as { error: string }).error

describe('the service token', () => {
  let world: World
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => world.close())

  const providers = (headers: Record<string, string | readonly string[]>) =>
    ask(world.internalPort, { path: '/internal/providers', headers })

  test('IA-01 none, an empty, a wrong, a near or a doubled token, or one in another header: 401', async () => {
    const token = world.serviceToken
    const wrong: Record<string, string | readonly string[]>[] = [
      {},
      { 'x-service-token': '' },
      { 'x-service-token': 'wrong' },
      { 'x-service-token': token.slice(0, -1) },
      { 'x-service-token': `${token}x` },
      { 'x-service-token': token.toUpperCase() },
      { 'x-service-token': `"${token}"` },
      { 'x-service-token': `Bearer ${token}` },
      { 'x-service-token': [token, token] },
      { 'x-service-token': ['', token] },
      { 'x-service-token': `${token}, ${token}` },
      { authorization: `Bearer ${token}` },
      { authorization: token },
      { cookie: `X-Service-Token=${token}` },
      { 'x-session-token': token },
    ]
    for (const headers of wrong) {
      const answer = await providers(headers)
      expect([Object.keys(headers), answer.status]).toEqual([Object.keys(headers), 401])
      expect(problemOf(answer)).toBe('service_token_required')
      expect(answer.text).not.toContain(token)
    }
    const query = await ask(world.internalPort, { path: `/internal/providers?x-service-token=${token}` })
    expect(query.status).toBe(401)
    expect((await providers({ 'x-service-token': token })).status).toBe(200)
  })

  test('IA-01 more than 20 failures in a minute: 429 and counted; the right token works on', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 25; i += 1)
      statuses.push((await providers({ 'x-service-token': `guess ${i}` })).status)
    expect(statuses).toEqual([...Array(20).fill(401), ...Array(5).fill(429)])
    expect((await providers({ 'x-service-token': 'guess' })).headers['retry-after']).toBe('60')
    expect((await providers({ 'x-service-token': world.serviceToken })).status).toBe(200)
    expect((await providers({ 'x-service-token': 'guess' })).status).toBe(429)
    const metrics = (await ask(world.internalPort, { path: '/metrics' })).text
    expect(metrics).toMatch(/^flovify_service_token_failures_total 27$/m)
  })

  test('IA-01 a client cannot name itself another peer by a header', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 22; i += 1)
      statuses.push(
        (
          await providers({
            'x-service-token': 'guess',
            'x-forwarded-for': `10.0.0.${i}`,
            'x-real-ip': `10.0.0.${i}`,
            forwarded: `for=10.0.0.${i}`,
          })
        ).status,
      )
    expect(statuses.slice(-2)).toEqual([429, 429])
  })
})

describe('every route', () => {
  let world: World
  let routes: ListedRoute[]
  let user: Person
  beforeAll(async () => {
    world = await openWorld()
    routes = await listRoutes(world.internalPort)
    user = await signIn(world, 'user@example.com')
  })
  afterAll(() => world.close())

  const call = (route: ListedRoute, headers: Readonly<Record<string, string>>, body?: string) =>
    ask(world.internalPort, {
      method: route.method,
      path: pathOf(route),
      headers: { ...headers, ...(route.hasBody ? { 'content-type': 'application/json' } : {}) },
      ...(route.hasBody ? { body: body ?? JSON.stringify(sampleOf(route)) } : {}),
    })
  const service = () => ({ 'x-service-token': world.serviceToken })

  test('declares an access, and only readiness and metrics are public', () => {
    expect(routes.length).toBeGreaterThanOrEqual(19)
    for (const route of routes) {
      expect(['public', 'service', 'user', 'admin']).toContain(route.access)
      if (route.access === 'public') expect(['/ready', '/metrics']).toContain(route.pattern)
    }
  })

  test('IA-01 asks for the service token, and tells nothing about the body without it', async () => {
    for (const route of routes.filter(({ access }) => access !== 'public')) {
      const statuses = [
        (await call(route, { 'x-session-token': user.headers['x-session-token'] ?? '' })).status,
        (await call(route, {}, '{')).status,
      ]
      // the 20 failures of this minute are used up on the way
      for (const status of statuses) expect([401, 429]).toContain(status)
    }
  })

  test('IA-05 of a user or an administrator answers 401 without a session, whatever the body', async () => {
    const guarded = routes.filter(({ access }) => access === 'user' || access === 'admin')
    expect(guarded.length).toBeGreaterThanOrEqual(12)
    const sessions: Record<string, string>[] = [
      {},
      { 'x-session-token': '' },
      { 'x-session-token': 'x' },
      { 'x-session-token': 'A'.repeat(43) },
      { 'x-session-token': `${user.headers['x-session-token']} `.trim().slice(0, -1) },
      { cookie: `__Host-session=${user.headers['x-session-token']}` },
      { authorization: `Bearer ${user.headers['x-session-token']}` },
    ]
    for (const route of guarded)
      for (const session of sessions)
        for (const body of route.hasBody ? [undefined, '{', '{"unknown":1}'] : [undefined]) {
          const answer = await call(route, { ...service(), ...session }, body)
          expect([nameOf(route), session, body, answer.status]).toEqual([nameOf(route), session, body, 401])
        }
  })

  test('IA-05 of an administrator answers 403 to a user, whatever the body', async () => {
    const admin = routes.filter(({ access }) => access === 'admin')
    expect(admin.length).toBeGreaterThanOrEqual(6)
    for (const route of admin)
      for (const body of route.hasBody ? [undefined, '{"unknown":1}'] : [undefined]) {
        const answer = await call(route, user.headers, body)
        expect([nameOf(route), answer.status, problemOf(answer)]).toEqual([
          nameOf(route),
          403,
          'admin_required',
        ])
      }
  })

  test('IA-05 a session that has ended opens nothing', async () => {
    const leaver = await signIn(world, 'leaver@example.com')
    const current = (method: string) =>
      ask(world.internalPort, { method, path: '/internal/sessions/current', headers: leaver.headers })
    expect((await current('GET')).status).toBe(200)
    expect((await current('DELETE')).status).toBe(204)
    for (const route of routes.filter(({ access }) => access === 'user'))
      expect([nameOf(route), (await call(route, leaver.headers)).status]).toEqual([nameOf(route), 401])
  })
})
