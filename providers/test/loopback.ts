/**
 * A small HTTP server that plays a provider's endpoints for one test, and keys that sign like a provider. Answers
 * are written in the tests, from the protocol documents; nothing here knows our own client.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { Host, Lookup, NotificationRequest } from '../src/provider.ts'

export interface Recorded {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly form: URLSearchParams
}

export interface Reply {
  readonly status: number
  readonly headers?: Record<string, string>
  /** An object is sent as JSON. */
  readonly body?: string | object
  /** Sends nothing at all, or stops in the middle of the body. */
  readonly hang?: 'at once' | 'in body'
}

export interface Loopback {
  readonly url: string
  readonly requests: Recorded[]
  /** Answers of one path, used up in order; the last one stays. */
  reply(path: string, ...replies: Reply[]): void
  requestsTo(path: string): readonly Recorded[]
  close(): Promise<void>
}

export async function startLoopback(): Promise<Loopback> {
  const requests: Recorded[] = []
  const replies = new Map<string, Reply[]>()
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const path = (incoming.url ?? '/').split('?')[0] ?? '/'
      const body = Buffer.concat(chunks).toString()
      requests.push({
        method: incoming.method ?? '',
        path,
        headers: incoming.headers,
        body,
        form: new URLSearchParams(body),
      })
      const queue = replies.get(path) ?? []
      const reply = queue.length > 1 ? queue.shift() : queue[0]
      respond(outgoing, reply ?? { status: 404, body: 'no such path in this test' })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    reply: (path, ...list) => {
      replies.set(path, list)
    },
    requestsTo: (path) => requests.filter((request) => request.path === path),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function respond(outgoing: ServerResponse, reply: Reply): void {
  if (reply.hang === 'at once') return
  const text = typeof reply.body === 'object' ? JSON.stringify(reply.body) : (reply.body ?? '')
  const type = typeof reply.body === 'object' ? { 'content-type': 'application/json' } : {}
  outgoing.writeHead(reply.status, { ...type, ...reply.headers })
  if (reply.hang === 'in body') outgoing.write(text.slice(0, 10))
  else outgoing.end(text)
}

export interface Signer {
  readonly jwk: JWK
  sign(claims: JWTPayload, header?: Record<string, unknown>): Promise<string>
}

/** Making an RSA key takes 0.1 s and more: each is made once per test file. */
const pairs = new Map<string, ReturnType<typeof generateKeyPair>>()

/**
 * @param more members of the published key, such as Microsoft's `issuer`.
 * @param pair name of the key pair; another name with the same `kid` is a forger.
 */
export async function makeSigner(
  kid: string,
  more: Record<string, string> = {},
  pair = kid,
): Promise<Signer> {
  const made = pairs.get(pair) ?? generateKeyPair('RS256', { extractable: true })
  pairs.set(pair, made)
  const { publicKey, privateKey } = await made
  const jwk = { ...(await exportJWK(publicKey)), kid, use: 'sig', ...more }
  return {
    jwk,
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT', ...header }).sign(privateKey),
  }
}

/** A clock that the test moves. */
export interface TestClock {
  now: Date
  forward(seconds: number): void
}

export function startClock(): TestClock {
  return {
    now: new Date('2026-09-20T10:00:00Z'),
    forward(seconds) {
      this.now = new Date(this.now.getTime() + seconds * 1000)
    },
  }
}

export function hostAt(clock: TestClock): Host {
  return { fetch, call: fetch, now: () => clock.now }
}

export function notification(parts: Partial<NotificationRequest> = {}): NotificationRequest {
  return { method: 'POST', ref: undefined, query: [], headers: {}, body: Buffer.alloc(0), ...parts }
}

export const NOTHING_KNOWN: Lookup = {
  genuineRef: () => undefined,
  byChannelSecret: () => Promise.resolve(undefined),
  genuineChannelSecret: () => false,
  privateKey: () => Promise.resolve({ kind: 'unknown' }),
  byAddress: () => Promise.resolve([]),
}
