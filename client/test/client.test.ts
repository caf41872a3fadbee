import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ConnectClient, ConnectError, connectClient } from '../src/index.ts'

interface Seen {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
}

let server: Server
let baseUrl: string
let seen: Seen[] = []
let answer: { status: number; body: string; headers?: Record<string, string>; silent?: boolean }

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      seen.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      })
      if (answer.silent) return
      response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers })
      response.end(answer.body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})
beforeEach(() => {
  seen = []
  answer = { status: 200, body: '{"items":[]}' }
})

const SESSION = 's'.repeat(43)
const client = () => connectClient({ baseUrl, serviceToken: 'service-token' })

/** Every method with the request line that the contract names. */
const CALLS: [string, string | undefined, boolean, (client: ConnectClient) => Promise<unknown>][] = [
  ['GET /ready', undefined, false, (c) => c.ready()],
  ['GET /metrics', undefined, false, (c) => c.metrics()],
  ['GET /openapi.json', undefined, false, (c) => c.openApi()],
  [
    'POST /internal/signin-links',
    '{"email":"a@example.com","role":"admin"}',
    false,
    (c) => c.createSigninLink({ email: 'a@example.com', role: 'admin' }),
  ],
  ['POST /internal/sessions', '{"signin_token":"t"}', false, (c) => c.createSession({ signin_token: 't' })],
  ['GET /internal/sessions/current', undefined, true, (c) => c.currentSession(SESSION)],
  ['DELETE /internal/sessions/current', undefined, true, (c) => c.endSession(SESSION)],
  ['GET /internal/providers', undefined, false, (c) => c.providers()],
  [
    'POST /internal/oauth/create-state',
    '{"user_id":"1","provider":"acme","session_binding":"b"}',
    false,
    (c) => c.beginConnection({ user_id: '1', provider: 'acme', session_binding: 'b' }),
  ],
  ['POST /internal/oauth/complete', '{"ticket":"t"}', false, (c) => c.completeConnection({ ticket: 't' })],
  ['GET /internal/connections', undefined, true, (c) => c.connections(SESSION)],
  ['DELETE /internal/connections/con_a', undefined, true, (c) => c.disconnect(SESSION, 'con_a')],
  ['GET /internal/events', undefined, true, (c) => c.events(SESSION)],
  [
    'GET /internal/events?limit=5&after=evt_a',
    undefined,
    true,
    (c) => c.events(SESSION, { limit: 5, after: 'evt_a' }),
  ],
  ['GET /internal/events/evt_a', undefined, true, (c) => c.event(SESSION, 'evt_a')],
  ['GET /internal/deliveries/dlv_a', undefined, true, (c) => c.delivery(SESSION, 'dlv_a')],
  [
    'GET /internal/deliveries?state=dead&destination=dst_a',
    undefined,
    true,
    (c) => c.deliveries(SESSION, { state: 'dead', destination: 'dst_a' }),
  ],
  ['POST /internal/deliveries/dlv_a/retry', undefined, true, (c) => c.retryDelivery(SESSION, 'dlv_a')],
  ['GET /internal/destinations/dst_a/health', undefined, true, (c) => c.destinationHealth(SESSION, 'dst_a')],
  ['GET /internal/destinations/dst_a/retry-dead', undefined, true, (c) => c.countDead(SESSION, 'dst_a')],
  [
    'POST /internal/destinations/dst_a/retry-dead',
    '{"expected_count":3,"idempotency_key":"key-of-mine"}',
    true,
    (c) => c.retryDead(SESSION, 'dst_a', { expected_count: 3, idempotency_key: 'key-of-mine' }),
  ],
  ['GET /internal/destinations', undefined, true, (c) => c.destinations(SESSION)],
  [
    'POST /internal/destinations',
    '{"name":"n","url":"https://n.example"}',
    true,
    (c) => c.createDestination(SESSION, { name: 'n', url: 'https://n.example' }),
  ],
  ['DELETE /internal/destinations/dst_a', undefined, true, (c) => c.deleteDestination(SESSION, 'dst_a')],
  ['GET /internal/rules', undefined, true, (c) => c.rules(SESSION)],
  [
    'POST /internal/rules',
    '{"name":"n","destination_id":"dst_a"}',
    true,
    (c) => c.createRule(SESSION, { name: 'n', destination_id: 'dst_a' }),
  ],
  ['DELETE /internal/rules/rul_a', undefined, true, (c) => c.deleteRule(SESSION, 'rul_a')],
  [
    'PUT /internal/local/destination',
    '{"url":"http://127.0.0.1:1/","name":"n"}',
    false,
    (c) => c.putLocalDestination({ url: 'http://127.0.0.1:1/', name: 'n' }),
  ],
]

describe('each method calls the route of the table', () => {
  test.each(CALLS)('%s', async (line, body, withSession, call) => {
    await call(client())
    expect(seen).toHaveLength(1)
    const [request] = seen
    expect(`${request?.method} ${request?.url}`).toBe(line)
    expect(request?.body).toBe(body ?? '')
    expect(request?.headers['content-type']).toBe(body === undefined ? undefined : 'application/json')
    expect(request?.headers['x-service-token']).toBe('service-token')
    expect(request?.headers['x-session-token']).toBe(withSession ? SESSION : undefined)
  })
})

describe('answers', () => {
  test('a page is returned as it came, also below a path prefix', async () => {
    answer.body = '{"items":[{"id":"evt_a"}],"next_cursor":"c"}'
    const page = await connectClient({ baseUrl: `${baseUrl}/prefix/`, serviceToken: 's' }).events(SESSION)
    expect(page).toEqual({ items: [{ id: 'evt_a' }], next_cursor: 'c' })
    expect(seen[0]?.url).toBe('/prefix/internal/events')
  })

  test('204 is nothing', async () => {
    answer = { status: 204, body: '' }
    expect(await client().disconnect(SESSION, 'con_a')).toBeUndefined()
  })

  test('a refusal is a ConnectError with status, code, sentence and reason', async () => {
    answer = {
      status: 502,
      body: '{"error":"exchange_failed","message":"Connect again.","reason":"timeout"}',
    }
    const error = await failure(client().completeConnection({ ticket: 't' }))
    expect(error).toMatchObject({
      status: 502,
      error: 'exchange_failed',
      message: 'Connect again.',
      reason: 'timeout',
    })
  })

  test('an answer that is not ours is bad_answer and repeats nothing of it', async () => {
    answer = { status: 500, body: '<html>secret</html>' }
    const error = await failure(client().providers())
    expect(error).toMatchObject({ status: 500, error: 'bad_answer' })
    expect(JSON.stringify(error) + error.message).not.toContain('secret')
    answer = { status: 200, body: 'not json' }
    expect(await failure(client().providers())).toMatchObject({ status: 200, error: 'bad_answer' })
  })

  test('a redirect is not followed: the tokens stay here', async () => {
    answer = { status: 302, body: '', headers: { location: '/internal/rules' } }
    expect(await failure(client().providers())).toMatchObject({ status: 0, error: 'unreachable' })
    expect(seen).toHaveLength(1)
  })

  test('no answer within the deadline is a timeout', async () => {
    answer = { status: 200, body: '', silent: true }
    const hasty = connectClient({ baseUrl, serviceToken: 's', deadlineMs: 50 })
    expect(await failure(hasty.providers())).toMatchObject({ status: 0, error: 'timeout' })
  })

  test('nobody listening is unreachable, and the error holds no token', async () => {
    const lost = connectClient({ baseUrl: 'http://127.0.0.1:1', serviceToken: 'service-canary' })
    const error = await failure(lost.currentSession('session-canary'))
    expect(error).toMatchObject({ status: 0, error: 'unreachable' })
    expect(`${error.stack} ${String(error.cause)}`).not.toMatch(/canary/)
  })
})

describe('BC-08 ids cannot leave their segment', () => {
  test.each(['..', '.', '', 'a/b', 'a%2fb', '../rules', 'con_a?x=1', 'con_a#x', 'con a', 'con\0a'])(
    'BC-08 %j is 404 without a request',
    async (id) => {
      expect(await failure(client().disconnect(SESSION, id))).toMatchObject({
        status: 404,
        error: 'not_found',
      })
      expect(await failure(client().event(SESSION, id))).toMatchObject({ status: 404 })
      expect(seen).toHaveLength(0)
    },
  )
})

async function failure(promise: Promise<unknown>): Promise<ConnectError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (outcome instanceof ConnectError) return outcome
  throw new Error('expected a ConnectError', { cause: outcome })
}
