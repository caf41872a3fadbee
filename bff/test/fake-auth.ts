/** An Auth service for tests: real HTTP on loopback, fixed answers that a test can replace, and a record of every call. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface AuthCall {
  line: string
  headers: IncomingHttpHeaders
  body: unknown
}

interface Answer {
  status: number
  body?: unknown
}

export interface FakeAuth {
  readonly url: string
  calls: AuthCall[]
  /** Keyed by `METHOD /path` without query. */
  answers: Map<string, (call: AuthCall) => Answer | Promise<Answer>>
  reset(): void
  close(): Promise<void>
}

export const SERVICE_SECRET = 'service-secret-canary-0123456789abcdef'
export const LIVE = 'live-session-canary-aaaaaaaaaaaaaaaaaaaaaaa'
export const FRESH = 'fresh-session-canary-bbbbbbbbbbbbbbbbbbbbbb'
export const FAMILY = 'fam_familycanaryaaaaaaaaaaaaaa'
export const SESSION = {
  user_id: '7',
  email: 'ada@example.com',
  name: 'Ada',
  role: 'user',
  family_id: FAMILY,
  expires_at: '2030-01-01T00:00:00.000Z',
}
const REFUSED = { error: 'sign_in_required', message: 'Sign in.' }

export async function startFakeAuth(): Promise<FakeAuth> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', async () => {
      const text = Buffer.concat(chunks).toString()
      const call = {
        line: `${request.method} ${request.url}`,
        headers: request.headers,
        body: text === '' ? undefined : JSON.parse(text),
      }
      auth.calls.push(call)
      const handle = auth.answers.get(call.line.split('?', 1)[0] ?? '')
      const answer = (await handle?.(call)) ?? {
        status: 404,
        body: { error: 'not_found', message: 'Not found.' },
      }
      response.writeHead(answer.status, { 'content-type': 'application/json' })
      response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const auth: FakeAuth = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: [],
    answers: defaults(),
    reset() {
      auth.calls = []
      auth.answers = defaults()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return auth
}

function defaults(): FakeAuth['answers'] {
  const forLiveSession =
    (status: number, body?: unknown) =>
    (call: AuthCall): Answer =>
      call.headers['x-session-token'] === LIVE ? { status, body } : { status: 401, body: REFUSED }
  const started = () => ({ status: 201, body: { session_token: FRESH, session: SESSION } })
  return new Map([
    ['POST /internal/sessions', started],
    ['GET /internal/sessions/current', forLiveSession(200, SESSION)],
    ['DELETE /internal/sessions/current', forLiveSession(204)],
    ['GET /internal/providers', () => ({ status: 200, body: { items: [] } })],
    [
      'POST /internal/oauth/create-state',
      () => ({
        status: 200,
        body: { status: 'ok', state: 'state-canary', authUrl: 'https://login.example/a' },
      }),
    ],
    [
      'POST /internal/oauth/admin-consent',
      () => ({
        status: 200,
        body: { url: 'https://login.example/adminconsent', expires_at: '2100-01-01T00:00:00Z' },
      }),
    ],
    [
      'POST /internal/oauth/complete',
      (call) =>
        (call.body as { user_id?: string }).user_id === undefined
          ? { status: 401, body: REFUSED }
          : { status: 200, body: { connection: { id: 'con_a' } } },
    ],
    ['GET /internal/connections', forLiveSession(200, { items: [] })],
    ['DELETE /internal/connections/con_a', forLiveSession(204)],
    ['PATCH /internal/subscriptions/con_a', forLiveSession(204)],
    ['POST /internal/subscriptions/con_a/renew', forLiveSession(204)],
    ['GET /internal/destinations', forLiveSession(200, { items: [] })],
    ['POST /internal/destinations', forLiveSession(201, { id: 'dst_a', secret: 'whsec_new' })],
    ['GET /internal/destinations/con_a', forLiveSession(200, { id: 'con_a' })],
    ['PATCH /internal/destinations/con_a', forLiveSession(200, { id: 'con_a' })],
    ['DELETE /internal/destinations/con_a', forLiveSession(204)],
    ['POST /internal/destinations/con_a/pause', forLiveSession(200, { id: 'con_a' })],
    ['POST /internal/destinations/con_a/resume', forLiveSession(200, { id: 'con_a' })],
    ['POST /internal/destinations/con_a/rotate-secret', forLiveSession(200, { secret: 'whsec_new' })],
    ['POST /internal/destinations/con_a/test', forLiveSession(200, { delivered: true })],
    ['GET /internal/destinations/con_a/retry-dead', forLiveSession(200, { count: 1 })],
    ['POST /internal/destinations/con_a/retry-dead', forLiveSession(202, { id: 'rtr_a' })],
    ['POST /internal/deliveries/con_a/retry', forLiveSession(200, { id: 'con_a' })],
    ['GET /internal/events', forLiveSession(200, { items: [] })],
    ['GET /internal/events/evt_a', forLiveSession(200, { id: 'evt_a', payload: '{}' })],
  ])
}
