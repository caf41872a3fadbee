/** IA-04: headers that claim to be somebody, or to come from somewhere, change nothing at any route. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, pathOf, sampleOf } from './route-list.ts'
import { ask } from './wire.ts'

let world: World
let routes: ListedRoute[]
let admin: Person
let claims: Record<string, string>

beforeAll(async () => {
  world = await openWorld()
  routes = await listRoutes(world.internalPort)
  admin = await signIn(world, 'admin@example.com', 'admin')
  claims = {
    'x-user-id': admin.userId,
    'x-user-role': 'admin',
    'x-user-email': admin.email,
    'x-user': admin.userId,
    'x-tenant-id': 'tenant',
    'x-tenant': 'tenant',
    'x-forwarded-user': admin.email,
    'x-forwarded-email': admin.email,
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-host': 'evil.example.com',
    'x-forwarded-proto': 'https',
    'x-forwarded-prefix': '/evil',
    'x-forwarded-uri': '/ready',
    'x-forwarded-method': 'GET',
    'x-original-url': '/ready',
    'x-rewrite-url': '/ready',
    'x-real-ip': '127.0.0.1',
    'x-http-method-override': 'GET',
    forwarded: 'for=127.0.0.1;host=evil.example.com;proto=https',
  }
})
afterAll(() => world.close())

const call = (route: ListedRoute, headers: Readonly<Record<string, string>>, path = pathOf(route)) =>
  ask(world.internalPort, {
    method: route.method,
    path,
    headers: { ...headers, ...(route.hasBody ? { 'content-type': 'application/json' } : {}) },
    ...(route.hasBody ? { body: JSON.stringify(sampleOf(route)) } : {}),
  })

/** What differs from answer to answer although nothing differs: ids, times, tokens. */
const shape = (text: string) =>
  text
    .replace(/"head_cursor":"[^"]*"/, '')
    .replace(/"[a-z]{3}_[a-z2-7]{26}"|"[\w-]{43}"|"20\d\d-[^"]+"|https?:[^"]+|whsec_[^"]+/g, '"…"')

test('IA-04 without a session they make nobody out of nobody', async () => {
  const service = { 'x-service-token': world.serviceToken }
  for (const route of routes.filter(({ access }) => access === 'user' || access === 'admin'))
    expect([nameOf(route), (await call(route, { ...service, ...claims })).status]).toEqual([
      nameOf(route),
      401,
    ])
})

test('IA-04 every route answers a user with them as without them', async () => {
  for (const route of routes) {
    const [plain, claiming] = [await signIn(world, 'a@example.com'), await signIn(world, 'b@example.com')]
    const path = pathOf(route)
    const without = await call(route, plain.headers, path)
    const withClaims = await call(route, { ...claiming.headers, ...claims }, path)
    expect([nameOf(route), withClaims.status]).toEqual([nameOf(route), without.status])
    if (!['/metrics', '/internal/sessions/current'].includes(route.pattern))
      expect([nameOf(route), shape(withClaims.text)]).toEqual([nameOf(route), shape(without.text)])
    expect(withClaims.text).not.toContain('evil.example.com')
  }
})

test('IA-04 a user who claims to be an administrator is himself, and sees only his own', async () => {
  const user = await signIn(world, 'user@example.com')
  const route = routes.find(
    ({ pattern, method }) => pattern === '/internal/sessions/current' && method === 'GET',
  )
  if (route === undefined) throw new Error('no such route')
  const { text } = await call(route, { ...user.headers, ...claims })
  expect(JSON.parse(text)).toMatchObject({ user_id: user.userId, role: 'user', email: 'user@example.com' })
})
