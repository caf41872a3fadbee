import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LIVE } from './fake-auth.ts'
import { FROM_CONSOLE, SIGNED_IN, startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())
beforeEach(() => world.auth.reset())

const HEADERS = { ...FROM_CONSOLE, 'content-type': 'application/json', cookie: SIGNED_IN }
const LISTED = new Set([
  'POST /internal/sessions',
  'GET /internal/sessions/current',
  'DELETE /internal/sessions/current',
  'GET /internal/providers',
  'POST /internal/oauth/create-state',
  'POST /internal/oauth/complete',
  'GET /internal/connections',
  'DELETE /internal/connections/con_a',
  'GET /internal/events',
  'GET /internal/events/evt_a',
])

const TRICKS = [
  '/bff/../internal/rules',
  '/bff/events/../../internal/rules',
  '/bff/events/..',
  '/bff/events/.',
  '/bff/events/%2e%2e',
  '/bff/events/%2e%2e%2frules',
  '/bff/events/..%2f..%2finternal%2frules',
  '/bff/events/..%5c..%5crules',
  '/bff/events/%252e%252e%252frules',
  '/bff/events/evt_a%2f..%2f..%2frules',
  '/bff/events/evt_a%00',
  '/bff/events/evt_a%0d%0aX-Session-Token:%20x',
  '/bff/events/evt_a%3fuser_id=1',
  '/bff/events/evt_a%23',
  '/bff/events/evt_a;x',
  '/bff/events/https:%2f%2fevil.example',
  '//bff/events',
  '/bff//events',
  '/bff/events/',
  '/BFF/events',
  '/bff/events?user_id=1',
  '/bff/events?limit=1&limit=2',
  '/bff/events?limit=1e9',
  '/bff/events?limit=0',
  '/bff/events?cursor=a%26user_id%3d1',
  '/bff/events?after[]=x',
  '/bff/connections?all=true',
  '/internal/events',
  '/bff/internal/events',
  '/metrics',
  '/index.html',
  '/assets/../index.html',
  '/assets/..%2f..%2fpackage.json',
  '/assets/%2e%2e/package.json',
  '/..%2fpackage.json',
  'http://127.0.0.1:1/internal/events',
  `/bff/events/${'a'.repeat(5000)}`,
  `/bff/events?cursor=${'a'.repeat(5000)}`,
]

describe('BC-08 only listed upstream routes can be reached', () => {
  test.each(TRICKS)('BC-08 GET %s', async (path) => {
    const answer = await world.call('GET', path, { cookie: SIGNED_IN })
    expect([400, 404]).toContain(answer.status)
    expect(world.auth.calls).toEqual([])
  })

  test.each([
    '/bff/connections/..',
    '/bff/connections/%2e%2e%2fevents',
    '/bff/connections/con_a%2f..',
    '/internal/rules/rul_a',
  ])('BC-08 DELETE %s', async (path) => {
    const answer = await world.call('DELETE', path, { ...FROM_CONSOLE, cookie: SIGNED_IN })
    expect([400, 404]).toContain(answer.status)
    expect(world.auth.calls).toEqual([])
  })

  test.each(['..', '%2e%2e', 'acme%2f..', 'ACME', 'acme%00', 'a'.repeat(33)])(
    'BC-08 connect to provider %s',
    async (provider) => {
      const answer = await world.call('POST', `/bff/auth/connect/${provider}`, HEADERS, '{}')
      expect([400, 404]).toContain(answer.status)
      expect(world.auth.calls).toEqual([])
    },
  )

  test('BC-08 the honest requests reach exactly the listed ones', async () => {
    await world.ask('GET', '/bff/events?limit=5&cursor=abc', undefined, SIGNED_IN)
    await world.ask('GET', '/bff/events/evt_a', undefined, SIGNED_IN)
    await world.ask('GET', '/bff/connections', undefined, SIGNED_IN)
    await world.ask('DELETE', '/bff/connections/con_a', undefined, SIGNED_IN)
    await world.ask('GET', '/bff/providers', undefined, SIGNED_IN)
    for (const call of world.auth.calls) expect(LISTED).toContain(call.line.split('?')[0])
    expect(world.auth.calls[0]?.line).toBe('GET /internal/events?cursor=abc&limit=5')
  })
})

describe('IA-04 who somebody is comes from the session alone', () => {
  test('IA-04 client-supplied identity and forwarding headers are not passed on and change nothing', async () => {
    const forged = {
      'x-user-id': '1',
      'x-user-role': 'admin',
      'x-tenant-id': '1',
      'x-session-token': 'forged',
      'x-service-token': 'forged',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      forwarded: 'for=127.0.0.1;host=evil.example',
      authorization: 'Bearer forged',
      'x-http-method-override': 'DELETE',
    }
    const answer = await world.call('GET', '/bff/connections', { ...forged, cookie: SIGNED_IN })
    expect(answer.status).toBe(200)
    const [call] = world.auth.calls
    expect(call?.headers['x-session-token']).toBe(LIVE)
    expect(JSON.stringify(call)).not.toMatch(
      /forged|evil|x-user|x-tenant|forwarded|override|authorization|cookie/i,
    )
    const alone = await world.call('GET', '/bff/connections', forged)
    expect(alone.status).toBe(401)
  })
})

describe('IA-06 bad input gets a fitting answer and reaches nobody', () => {
  const ticket = 't'.repeat(43)
  test.each([
    ['an unknown field', `{"ticket":"${ticket}","user_id":"1"}`],
    ['a prototype', `{"ticket":"${ticket}","__proto__":{"user_id":"1"}}`],
    ['an array for a text', `{"ticket":["${ticket}"]}`],
    ['a number for a text', '{"ticket":1}'],
    ['nothing', '{}'],
    ['null', 'null'],
    ['an array', '[]'],
    ['a NUL', `{"ticket":"${ticket}\\u0000"}`],
    ['a line break', `{"ticket":"${ticket}\\n"}`],
    ['an empty body', ''],
    ['deep JSON', '['.repeat(30_000)],
    ['deep and closed JSON', `${'['.repeat(30_000)}${']'.repeat(30_000)}`],
    ['two objects', `{"ticket":"${ticket}"}{}`],
  ])('IA-06 %s is 400', async (_case, body) => {
    const answer = await world.call('POST', '/bff/auth/finish', HEADERS, body)
    expect(answer.status).toBe(400)
    expect(answer.json()).toEqual({
      error: 'invalid_request',
      message: 'The request is not one that this address accepts.',
    })
    expect(world.auth.calls).toEqual([])
  })

  test('IA-06 invalid UTF-8 is 400', async () => {
    const body = Buffer.concat([Buffer.from('{"ticket":"'), Buffer.alloc(43, 0xff), Buffer.from('"}')])
    expect((await world.call('POST', '/bff/auth/finish', HEADERS, body)).status).toBe(400)
    expect(world.auth.calls).toEqual([])
  })

  test('IA-06 scopes are bounded texts', async () => {
    for (const scopes of ['mail', [1], Array(51).fill('x'), ['x'.repeat(300)], [''], { 0: 'x' }]) {
      const answer = await world.ask('POST', '/bff/auth/connect/acme', { scopes }, SIGNED_IN)
      expect(answer.status).toBe(400)
    }
    expect(world.auth.calls).toEqual([])
  })

  test('a body where none belongs is 400', async () => {
    const answer = await world.ask('DELETE', '/bff/connections/con_a', { force: true }, SIGNED_IN)
    expect(answer.status).toBe(400)
    expect(world.auth.calls).toEqual([])
  })

  test('an endless body is cut at 64 KiB with 413', async () => {
    const chunked = { ...HEADERS, 'transfer-encoding': 'chunked' }
    const answer = await world.call('POST', '/bff/auth/finish', chunked, Buffer.alloc(80 * 1024, 0x20))
    expect(answer.status).toBe(413)
    expect(world.auth.calls).toEqual([])
  })
})

describe('Auth away', () => {
  test('is 503 with a sentence and when to try again', async () => {
    const lost = await startWorld({ authInternalUrl: 'http://127.0.0.1:1' })
    const answer = await lost.ask('GET', '/bff/connections', undefined, SIGNED_IN)
    expect(answer.status).toBe(503)
    expect(answer.json()).toMatchObject({ error: 'unavailable' })
    expect(answer.headers['retry-after']).toBe('5')
    expect((await lost.call('GET', '/')).status).toBe(200)
    expect((await lost.call('GET', '/healthz')).status).toBe(200)
    await lost.close()
  })
})

describe('a wrong service token', () => {
  test.each([
    [401, 'service_token_required'],
    [429, 'too_many_failures'],
  ])('answered by %i %s is our own failure: nobody is signed out by it', async (status, error) => {
    const body = { error, message: 'Send the header X-Service-Token.' }
    for (const route of [
      'GET /internal/sessions/current',
      'DELETE /internal/sessions/current',
      'GET /internal/events',
    ]) {
      world.auth.answers.set(route, () => ({ status, body }))
    }
    for (const [method, path] of [
      ['GET', '/bff/session'],
      ['GET', '/bff/events'],
      ['DELETE', '/bff/session'],
    ] as const) {
      const answer = await world.ask(method, path, undefined, SIGNED_IN)
      expect(answer.status).toBe(503)
      expect(answer.headers['set-cookie']).toBeUndefined()
      expect(answer.text).not.toContain('X-Service-Token')
    }
  })
})

describe('the log', () => {
  test('OP-01 is one JSON line for a request, with the pattern and without anything that was sent', async () => {
    world.log.length = 0
    await world.ask('GET', '/bff/events?cursor=cursorcanary', undefined, SIGNED_IN)
    await world.ask('GET', '/bff/events/evt_canary', undefined, SIGNED_IN)
    await world.ask('POST', '/bff/session', { token: `canary${'t'.repeat(40)}` })
    await world.call('GET', '/nothing/canary')
    await world.call('POST', '/bff/auth/finish', HEADERS, '{"canary')
    world.auth.answers.set('POST /internal/sessions', () => ({ status: 201, body: { canary: 'canary' } }))
    await world.ask('POST', '/bff/session', { token: `canary${'t'.repeat(40)}` })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(world.log.join('')).not.toMatch(/canary/)
    const requests = world.log.map((line) => JSON.parse(line)).filter((line) => line.message === 'request')
    expect(requests.map(({ method, route, status }) => `${method} ${route} ${status}`)).toEqual([
      'GET /bff/events 200',
      'GET /bff/events/:id 404',
      'POST /bff/session 201',
      'GET none 404',
      'POST /bff/auth/finish 400',
      'POST /bff/session 500',
    ])
    expect(requests[0]).toMatchObject({ level: 'info', service: 'bff', ms: expect.any(Number) })
    expect(world.log.every((line) => line.trimEnd().split('\n').length === 1)).toBe(true)
  })
})
