/**
 * The HTTP server that each simulator is built on: 127.0.0.1 only, its own Host only (421 otherwise), forms
 * and JSON read leniently, counted per route, and down when the switch says so. It knows no provider.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type ApiRequest, type Call, countUp, type Journal, noteCall } from './journal.ts'

export interface ServerFaults {
  down: false | '503' | 'refuse'
}

export interface ServerParts {
  name: string
  log(line: string): void
  journal: Journal | null
  faults: ServerFaults | null
}

export function createServer(parts: ServerParts): FastifyInstance {
  const server = fastify({ forceCloseConnections: true, bodyLimit: 256 * 1024, exposeHeadRoutes: false })
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  server.server.on('connection', (socket) => {
    if (parts.faults?.down === 'refuse') socket.resetAndDestroy()
  })
  server.addHook('onRequest', async (request, reply) => {
    if (!isOwnHost(server, request)) {
      await reply.code(421).type('text/plain').send('Misdirected request\n')
      return
    }
    if (parts.journal && request.headers.authorization?.startsWith('Bearer '))
      noteCall(parts.journal, { atMs: Date.now(), kind: kindOf(request) })
    if (parts.faults?.down === 'refuse') dropConnection(request, reply)
    if (parts.faults?.down === '503') {
      await reply.code(503).header('retry-after', '1').send({ error: 'temporarily_unavailable' })
    }
  })
  server.addHook('onResponse', async (request) => {
    const { journal } = parts
    if (journal) countUp(journal.requests, `${request.method} ${request.routeOptions.url ?? 'unknown'}`)
  })
  server.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) parts.log(`${parts.name}: ${error.name}: ${error.message}`)
    return reply.code(status).send({ error: status >= 500 ? 'server_error' : 'invalid_request' })
  })
  return server
}

function kindOf({ method, url }: FastifyRequest): Call['kind'] {
  if (method !== 'GET') return 'change'
  return (url.split('?')[0] ?? '').endsWith('/subscriptions') ? 'list' : 'read'
}

/** Listens and tells the origin, always spelled with 127.0.0.1. */
export async function listen(server: FastifyInstance, port: number): Promise<string> {
  await server.listen({ host: '127.0.0.1', port })
  return `http://127.0.0.1:${portOf(server)}`
}

/** Cuts the connection without an answer. */
export function dropConnection(request: FastifyRequest, reply: FastifyReply): void {
  reply.hijack()
  request.raw.socket.resetAndDestroy()
}

export type Parameters =
  | { kind: 'read'; get(name: string): string | undefined }
  | { kind: 'repeated'; name: string }

/** Parameters of a query or form; RFC 6749 §3.1: none may occur twice, an empty one counts as absent. */
export function readParameters(source: string): Parameters {
  const values = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(source)) {
    if (values.has(name)) return { kind: 'repeated', name }
    values.set(name, value)
  }
  return { kind: 'read', get: (name) => values.get(name) || undefined }
}

export function queryOf(request: FastifyRequest): string {
  const at = request.url.indexOf('?')
  return at < 0 ? '' : request.url.slice(at + 1)
}

/** The body as a JSON object, `{}` for an empty one, `null` if it is something else. */
export function jsonBody(request: FastifyRequest): Record<string, unknown> | null {
  if (typeof request.body !== 'string' || request.body.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(request.body)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null
  } catch {
    return null
  }
}

export function formBody(request: FastifyRequest): string {
  return typeof request.body === 'string' ? request.body : ''
}

export function bearerOf(request: FastifyRequest): string | null {
  const match = /^Bearer +([^ ]+)$/i.exec(request.headers.authorization ?? '')
  return match?.[1] ?? null
}

/** What the journal keeps of an API request: names of headers, never values; the path without its query. */
export function describeRequest(request: FastifyRequest, now: number): ApiRequest {
  return {
    at: new Date(now).toISOString(),
    method: request.method,
    path: request.url.split('?')[0] ?? '',
    headers: Object.keys(request.headers).sort(),
    authorization: request.headers.authorization !== undefined,
    bodyBytes: Buffer.byteLength(formBody(request)),
  }
}

export interface Credentials {
  clientId: string | undefined
  clientSecret: string | undefined
}

/** `client_secret_basic` (RFC 6749 §2.3.1: each half form-encoded) or `client_secret_post`. */
export function readCredentials(
  request: FastifyRequest,
  get: (name: string) => string | undefined,
): Credentials {
  const match = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(request.headers.authorization ?? '')
  if (!match?.[1]) return { clientId: get('client_id'), clientSecret: get('client_secret') }
  const decoded = Buffer.from(match[1], 'base64').toString('utf8')
  const at = decoded.indexOf(':')
  const half = (text: string) => new URLSearchParams(`v=${text}`).get('v') ?? undefined
  return { clientId: half(decoded.slice(0, at)), clientSecret: half(decoded.slice(at + 1)) }
}

function isOwnHost(server: FastifyInstance, request: FastifyRequest): boolean {
  const port = portOf(server)
  return request.headers.host === `127.0.0.1:${port}` || request.headers.host === `localhost:${port}`
}

function portOf(server: FastifyInstance): number {
  const address = server.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
