import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FROM_CONSOLE, SIGNED_IN, startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld({ mode: 'production' })
})
afterAll(() => world.close())
beforeEach(() => world.auth.reset())

const JSON_TYPE = { ...FROM_CONSOLE, 'content-type': 'application/json', cookie: SIGNED_IN }
const BIG = JSON.stringify({ ticket: 'x'.repeat(70_000) })

/** Every kind of response that the BFF can give. */
const KINDS: [
  string,
  number,
  () => Promise<{ status: number; headers: Record<string, unknown>; text: string }>,
][] = [
  ['the page', 200, () => world.call('GET', '/')],
  ['a client route', 200, () => world.call('GET', '/auth/success?provider=acme')],
  ['a client route with id', 200, () => world.call('GET', '/events/evt_a')],
  ['a hashed file', 200, () => world.call('GET', '/assets/app-0a1b2c3d.js')],
  ['another file', 200, () => world.call('GET', '/favicon.svg')],
  ['a part of a file', 206, () => world.call('GET', '/favicon.svg', { range: 'bytes=0-3' })],
  ['HEAD', 200, () => world.call('HEAD', '/')],
  ['health', 200, () => world.call('GET', '/healthz')],
  ['a view', 200, () => world.ask('GET', '/bff/connections', undefined, SIGNED_IN)],
  ['a session', 201, () => world.ask('POST', '/bff/session', { token: 't'.repeat(43) })],
  ['no content', 204, () => world.ask('DELETE', '/bff/session', undefined, SIGNED_IN)],
  ['unknown field', 400, () => world.call('POST', '/bff/auth/finish', JSON_TYPE, '{"ticket":"x","more":1}')],
  ['broken JSON', 400, () => world.call('POST', '/bff/auth/finish', JSON_TYPE, '{"ticket":')],
  ['no session', 401, () => world.ask('GET', '/bff/events')],
  ['foreign request', 403, () => world.call('POST', '/bff/session')],
  ['unknown address', 404, () => world.call('GET', '/nothing')],
  ['unknown address of the API', 404, () => world.call('GET', '/bff/nothing')],
  ['malformed path', 404, () => world.call('GET', '/bff/%zz')],
  ['wrong method', 405, () => world.call('PUT', '/bff/session')],
  ['wrong method on a page', 405, () => world.call('POST', '/signin')],
  ['conflict', 409, () => world.ask('POST', '/bff/session', { token: 't'.repeat(43) }, SIGNED_IN)],
  ['too large', 413, () => world.call('POST', '/bff/auth/finish', JSON_TYPE, BIG)],
  [
    'wrong type',
    415,
    () => world.call('POST', '/bff/auth/finish', { ...JSON_TYPE, 'content-type': 'application/xml' }, '<a/>'),
  ],
  ['not HTTP', 400, () => raw('HELLO\r\n\r\n')],
  [
    'two lengths',
    400,
    () => raw('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'),
  ],
  ['too large a header', 431, () => raw(`GET / HTTP/1.1\r\nHost: a\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`)],
  [
    'Auth failing',
    503,
    () => {
      world.auth.answers.set('GET /internal/events', () => ({ status: 500, body: { stack: 'at secret' } }))
      return world.ask('GET', '/bff/events', undefined, SIGNED_IN)
    },
  ],
  [
    'a broken handler',
    500,
    () => {
      world.auth.answers.set('POST /internal/sessions', () => ({
        status: 201,
        body: { surprise: 'at secret' },
      }))
      return world.ask('POST', '/bff/session', { token: 't'.repeat(43) })
    },
  ],
]

describe('BC-06 every answer carries the security headers', () => {
  test.each(KINDS)('BC-06 %s (%i)', async (_kind, status, get) => {
    const answer = await get()
    expect(answer.status).toBe(status)
    const { headers } = answer
    const policy = String(headers['content-security-policy'])
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "object-src 'none'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]) {
      expect(policy.split('; ')).toContain(part)
    }
    expect(policy).not.toMatch(/unsafe|\*|https?:/)
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(headers['referrer-policy']).toBe('no-referrer')
    expect(headers['cross-origin-opener-policy']).toBe('same-origin')
    expect(headers['cross-origin-resource-policy']).toBe('same-origin')
    expect(headers['permissions-policy']).toContain('camera=()')
    expect(headers['x-powered-by'] ?? headers.server).toBeUndefined()
    expect(answer.text).not.toMatch(/secret|\bat .*\.ts|node_modules/)
  })

  test.each(KINDS.filter(([, status]) => ![431].includes(status) && status !== 400))(
    'BC-06 %s (%i) demands https for a year or more',
    async (_kind, _status, get) => {
      const transport = String((await get()).headers['strict-transport-security'])
      const [, seconds] = /^max-age=(\d+); includeSubDomains$/.exec(transport) ?? []
      expect(Number(seconds)).toBeGreaterThanOrEqual(31_536_000)
    },
  )

  test('BC-06 nothing of the API may be stored; hashed files may for a year', async () => {
    const stored = async (path: string) => (await world.call('GET', path)).headers['cache-control']
    for (const path of ['/bff/session', '/bff/events', '/bff/nothing', '/healthz', '/nothing']) {
      expect(await stored(path)).toBe('no-store')
    }
    expect(await stored('/signin')).toBe('no-cache')
    expect(await stored('/assets/app-0a1b2c3d.js')).toBe('public, max-age=31536000, immutable')
    expect(await stored('/favicon.svg')).toBe('no-cache')
  })

  test('in local mode nothing demands https', async () => {
    const local = await startWorld()
    expect((await local.call('GET', '/')).headers['strict-transport-security']).toBeUndefined()
    await local.close()
  })
})

/** Bytes as they are, for what no HTTP client would send. */
function raw(bytes: string): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(world.port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n')
      const [line = '', ...fields] = head.split('\r\n')
      const headers = Object.fromEntries(fields.map((field) => field.split(/: (.*)/s)))
      resolve({ status: Number(line.split(' ')[1]), headers, text: body })
    })
  })
}
