import { connectClient } from '@flovify/client'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import type { Route } from '../src/route.ts'
import { routes } from '../src/routes.ts'
import { SERVICE_SECRET } from './fake-auth.ts'
import { FROM_CONSOLE, ORIGIN, SIGNED_IN, startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())
beforeEach(() => world.auth.reset())

const table = routes({
  auth: connectClient({ baseUrl: 'http://127.0.0.1:1', serviceToken: 'none' }),
  serviceSecret: SERVICE_SECRET,
})
const changing = table.filter((one) => one.changes)
const BODIES: Record<string, string> = {
  '/bff/session': `{"token":"${'t'.repeat(43)}"}`,
  '/bff/auth/connect/:provider': '{}',
  '/bff/auth/admin-consent/:provider': '{}',
  '/bff/auth/finish': `{"ticket":"${'t'.repeat(43)}"}`,
  '/bff/destinations': '{"name":"n","url":"https://hook.example/"}',
  '/bff/destinations/:id': '{"name":"other"}',
  '/bff/subscriptions/:id': '{"enabled":true}',
  '/bff/destinations/:id/rotate-secret': '{}',
  '/bff/destinations/:id/test': '{"to":"production"}',
  '/bff/destinations/:id/retry-dead': '{"expected_count":1,"idempotency_key":"key-of-mine"}',
}
const pathOf = (one: Route) => one.path.replace(':provider', 'acme').replace(':id', 'con_a')
const bodyOf = (one: Route) => (one.body === undefined ? undefined : BODIES[one.path])
function headersOf(one: Route, changes: Record<string, string | string[] | undefined> = {}) {
  const typed = one.body === undefined ? {} : { 'content-type': 'application/json' }
  const all = { cookie: SIGNED_IN, ...FROM_CONSOLE, ...typed, ...changes }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

const HOSTILE: [string, Record<string, string | string[] | undefined>][] = [
  ['cross-site', { 'sec-fetch-site': 'cross-site' }],
  ['from a same-site sibling', { 'sec-fetch-site': 'same-site' }],
  ['typed into the address bar', { 'sec-fetch-site': 'none' }],
  ['with two sec-fetch-site', { 'sec-fetch-site': ['same-origin', 'cross-site'] }],
  ['without the custom header', { 'x-requested-with': undefined }],
  ['with another custom header', { 'x-requested-with': 'XMLHttpRequest' }],
  ['with a repeated custom header', { 'x-requested-with': ['flovify-console', 'x'] }],
  ['without Origin', { origin: undefined }],
  ['with a null Origin', { origin: 'null' }],
  ['with a foreign Origin', { origin: 'https://evil.example' }],
  ['with a sibling Origin', { origin: 'http://evil.localhost:3000' }],
  ['with an Origin on another port', { origin: 'http://localhost:3001' }],
  ['with an Origin of another scheme', { origin: 'https://localhost:3000' }],
  ['with an Origin that only begins like ours', { origin: `${ORIGIN}.evil.example` }],
  ['with an Origin with a slash', { origin: `${ORIGIN}/` }],
  ['with two Origins', { origin: [ORIGIN, 'https://evil.example'] }],
  ['with our Origin only as Referer', { origin: undefined, referer: `${ORIGIN}/connections` }],
  ['as a text/plain form', { 'content-type': 'text/plain' }],
  ['as a url-encoded form', { 'content-type': 'application/x-www-form-urlencoded' }],
  ['as a multipart form', { 'content-type': 'multipart/form-data; boundary=x' }],
  ['as text/plain in disguise', { 'content-type': ' text/plain;application/json' }],
  ['with two types', { 'content-type': ['application/json', 'text/plain'] }],
]

describe('BC-01 a request that changes state comes from the console or does nothing', () => {
  test('BC-01 the matrix covers every state-changing route', () => {
    expect(changing.map((one) => `${one.method} ${one.path}`).sort()).toEqual([
      'DELETE /bff/connections/:id',
      'DELETE /bff/destinations/:id',
      'DELETE /bff/session',
      'PATCH /bff/destinations/:id',
      'PATCH /bff/subscriptions/:id',
      'POST /bff/auth/admin-consent/:provider',
      'POST /bff/auth/connect/:provider',
      'POST /bff/auth/finish',
      'POST /bff/deliveries/:id/retry',
      'POST /bff/destinations',
      'POST /bff/destinations/:id/pause',
      'POST /bff/destinations/:id/resume',
      'POST /bff/destinations/:id/retry-dead',
      'POST /bff/destinations/:id/rotate-secret',
      'POST /bff/destinations/:id/test',
      'POST /bff/session',
      'POST /bff/subscriptions/:id/renew',
    ])
  })

  for (const one of changing) {
    const name = `${one.method} ${one.path}`
    test(`${name} from the console passes the guard`, async () => {
      const answer = await world.call(one.method, pathOf(one), headersOf(one), bodyOf(one))
      expect(answer.status).not.toBe(403)
      expect(world.auth.calls.length).toBeGreaterThan(0)
    })

    test.each(HOSTILE)(`BC-01 ${name} %s is 403 without an upstream call`, async (_case, changes) => {
      const answer = await world.call(one.method, pathOf(one), headersOf(one, changes), bodyOf(one))
      expect(answer.status).toBe(403)
      expect(answer.headers['set-cookie']).toBeUndefined()
      expect(world.auth.calls).toEqual([])
    })

    test(`BC-01 ${name} with a body but no type is 403`, async () => {
      const answer = await world.call(
        one.method,
        pathOf(one),
        headersOf(one, { 'content-type': undefined, 'content-length': '2' }),
        '{}',
      )
      expect(answer.status).toBe(403)
      expect(world.auth.calls).toEqual([])
    })

    test.each(['GET', 'HEAD', 'PUT', 'PATCH', 'OPTIONS', 'TRACE'])(
      `BC-01 the path of ${name} by %s changes nothing`,
      async (method) => {
        const answer = await world.call(method, pathOf(one), { cookie: SIGNED_IN })
        const reads = table.some((other) => other.path === one.path && other.method === 'GET')
        // a method that the path does have is guarded like every change
        const guarded = table.some(
          (other) => other.path === one.path && other.method === method && other.changes,
        )
        expect(answer.status).toBe(guarded ? 403 : reads && /GET|HEAD/.test(method) ? 200 : 405)
        if (answer.status === 405) expect(answer.headers.allow).toContain(one.method)
        expect(world.auth.calls.filter((call) => !call.line.startsWith('GET '))).toEqual([])
      },
    )
  }

  test('BC-01 no other origin is ever allowed to read: there are no CORS headers', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, { origin: ORIGIN }]) {
      const preflight = { ...headers, 'access-control-request-method': 'POST' }
      const answer = await world.call('OPTIONS', '/bff/session', preflight)
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })

  test('BC-01 a route beside the table that changes state keeps the server from starting', async () => {
    const app = buildApp({
      mode: 'local',
      consoleBaseUrl: ORIGIN,
      authInternalUrl: 'http://127.0.0.1:1',
      serviceSecret: SERVICE_SECRET,
      consoleFolder: `${import.meta.dirname}/fixtures/console`,
      logStream: { write: () => undefined },
    })
    expect(() => app.post('/bff/forgotten', async () => 'done')).toThrow(/no CSRF guard/)
    expect(() => app.route({ method: ['GET', 'DELETE'], url: '/x', handler: async () => '' })).toThrow(/CSRF/)
    await app.close()
  })
})
