/**
 * One bounded HTTP exchange with a provider: redirects are a failure, the body is read up to a cap, and the
 * caller's signal is the deadline for all of it. It never throws for anything the other side does, and what it
 * reports carries no URL, header or body of the request.
 */
import type { Failure, Host, Json } from './provider.ts'
import { readHostileJson } from './webhook/hostile-json.ts'

export const ANSWER_LIMIT_BYTES = 256 * 1024

export type HttpOutcome =
  | { readonly kind: 'answered'; readonly answer: HttpAnswer }
  | { readonly kind: 'failed'; readonly code: 'timeout' | 'network' | 'redirected' | 'answer_too_large' }

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly url: string
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
}

/** The host of what is done about subscriptions: each request at the provider's pace. */
export const atPace = (host: Host): Host => ({ ...host, fetch: host.call })

export async function send(host: Host, request: HttpRequest): Promise<HttpOutcome> {
  const { signal } = request
  try {
    const response = await host.fetch(request.url, {
      method: request.method,
      headers: { accept: 'application/json', ...request.headers },
      redirect: 'manual',
      signal,
      ...(request.body === undefined ? {} : { body: request.body }),
    })
    if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
      await response.body?.cancel()
      return { kind: 'failed', code: 'redirected' }
    }
    const body = await readCapped(response)
    if (body === undefined) return { kind: 'failed', code: 'answer_too_large' }
    return { kind: 'answered', answer: { status: response.status, headers: response.headers, body } }
  } catch {
    // The cause is dropped on purpose: errors of HTTP clients carry the request with its secrets.
    return { kind: 'failed', code: signal.aborted ? 'timeout' : 'network' }
  }
}

/** Something on the way failed; it says nothing about the connection. */
export function transportFailure(code: string): Failure {
  return { class: 'transient', code }
}

/** @returns the parsed body, or undefined when it is no JSON or hostile JSON. */
export function jsonOf(answer: HttpAnswer): Json | undefined {
  const reading = readHostileJson(answer.body)
  return reading.kind === 'json' ? reading.value : undefined
}

/**
 * RFC 9110 §10.2.3; some providers send fractions of a second. @returns whole seconds from 0 to 3600, or undefined.
 */
export function retryAfterSeconds(headers: Headers, now: Date): number | undefined {
  const value = headers.get('retry-after')?.trim()
  if (value === undefined || value === '') return undefined
  const seconds = /^\d{1,9}(\.\d{1,9})?$/.test(value)
    ? Number(value)
    : (Date.parse(value) - now.getTime()) / 1000
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(0, Math.ceil(seconds))) : undefined
}

async function readCapped(response: Response): Promise<Buffer | undefined> {
  if (response.body === null) return Buffer.alloc(0)
  const chunks: Uint8Array[] = []
  let size = 0
  const reader = response.body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > ANSWER_LIMIT_BYTES) {
      await reader.cancel()
      return undefined
    }
    chunks.push(value)
  }
}
