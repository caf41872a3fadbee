/** How the public door answers: the headers that each answer has, what becomes of a body that nobody wants, and the end of a connection. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Answer } from '../ingest/receive.ts'

const DISCARD_BYTES = 8 * 1024 * 1024
const DISCARD_MS = 2_000
/** So long the other side may read what it was told last: closing at once would reset what is still on its way. */
const LAST_WORDS_MS = 400

const SAFE_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; sandbox",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
} as const

const EMPTY_ANSWER = [...Object.entries(SAFE_HEADERS).flat(), 'content-length', '0']

/** What is left of the body is thrown away, up to a bound in bytes and time, so that the sender can read the answer. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  allow?: string,
): void {
  response.writeHead(status, {
    ...SAFE_HEADERS,
    'content-length': 0,
    ...(allow === undefined ? {} : { allow }),
    ...(status === 503 ? { 'retry-after': '5' } : {}),
  })
  response.end()
  if (request.complete) return
  let discarded = 0
  const cut = setTimeout(() => request.destroy(), DISCARD_MS)
  request.on('data', (chunk: Buffer) => {
    discarded += chunk.length
    if (discarded > DISCARD_BYTES) request.destroy()
  })
  request.on('close', () => clearTimeout(cut))
  request.resume()
}

export function end(response: ServerResponse, answer: Answer): void {
  const body = answer.body ?? ''
  if (body === '' && answer.retryAfterSeconds === undefined) {
    // the answer to nearly every notification
    response.writeHead(answer.status, EMPTY_ANSWER)
    response.end()
    return
  }
  response.writeHead(answer.status, {
    ...SAFE_HEADERS,
    'content-length': Buffer.byteLength(body),
    ...(body === '' ? {} : { 'content-type': `${answer.contentType ?? 'text/plain'}; charset=utf-8` }),
    ...(answer.retryAfterSeconds === undefined ? {} : { 'retry-after': String(answer.retryAfterSeconds) }),
  })
  response.end(body)
}

/** An end only asks the other side to go: one that does not heed it would keep the connection, and send on. */
export function cut(socket: Duplex, lastWords = ''): void {
  // ended before, and on its way out: what it still sends is an error each time
  if (!socket.writable) return
  socket.end(lastWords)
  setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref()
}
