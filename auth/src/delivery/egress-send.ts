/**
 * One POST over a guarded socket: sent once, never redirected, never decompressed; of the answer the status, the headers
 * and the first 4 KiB are kept, at most 64 KiB are read, and everything ends at the deadline. It says what each phase
 * took. It never throws for what the other side does.
 */
import type { Agent, Dispatcher } from 'undici'
import { monotonicMs } from '../platform/clock.ts'
import { EgressRefusedError, type FailureCode, failureCodeOf, type RefusalReason } from './egress-failure.ts'
import { attemptTimes, type SocketTimes } from './egress-socket.ts'

export interface EgressRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Total time from looking the name up to the last byte read. */
  readonly deadlineMs: number
  readonly signal?: AbortSignal
  /** Certificate authorities in PEM for this destination alone; they replace the public ones. */
  readonly ca?: string | undefined
}

/** Milliseconds. Lookup, connect and TLS are absent where an open socket was used again, or that phase never ended. */
export interface Phases extends Readonly<SocketTimes> {
  /** From the start to the status line. */
  readonly firstByteMs?: number
  readonly totalMs: number
}

export type EgressAnswer =
  | {
      readonly kind: 'answered'
      readonly status: number
      readonly retryAfter: string | undefined
      /** As they came, lower-case names; at most 16 KiB by the socket's limit. */
      readonly headers: Readonly<Record<string, string | readonly string[]>>
      /** The first 4 KiB of the body. */
      readonly body: Buffer
      readonly phases: Phases
    }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly phases: Phases }
  | { readonly kind: 'failed'; readonly error: FailureCode; readonly phases: Phases }

const MAX_ANSWER_BYTES = 64 * 1024
const KEPT_BYTES = 4 * 1024

export async function send(agent: Agent, url: URL, request: EgressRequest): Promise<EgressAnswer> {
  const deadline = AbortSignal.timeout(request.deadlineMs)
  const signal = request.signal === undefined ? deadline : AbortSignal.any([deadline, request.signal])
  const began = monotonicMs()
  const times: SocketTimes = {}
  const phases = (firstByteMs?: number): Phases => ({
    ...times,
    ...(firstByteMs === undefined ? {} : { firstByteMs }),
    totalMs: monotonicMs() - began,
  })
  try {
    const answering = attemptTimes.run(times, () =>
      agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: 'POST',
        headers: request.headers,
        body: request.body,
        signal,
        headersTimeout: request.deadlineMs,
        bodyTimeout: request.deadlineMs,
      }),
    )
    const answer = await beforeAbort(answering, signal)
    const firstByteMs = monotonicMs() - began
    const body = await readSome(answer.body)
    return {
      kind: 'answered',
      status: answer.statusCode,
      retryAfter: oneValue(answer.headers['retry-after']),
      headers: definedOnly(answer.headers),
      body,
      phases: phases(firstByteMs),
    }
  } catch (error) {
    if (error instanceof EgressRefusedError)
      return { kind: 'refused', reason: error.reason, phases: phases() }
    if (request.signal?.aborted === true) return { kind: 'failed', error: 'aborted', phases: phases() }
    return { kind: 'failed', error: deadline.aborted ? 'timeout' : failureCodeOf(error), phases: phases() }
  }
}

/** undici looks at the signal only once a socket is there (7.30, measured), so connecting could outlast the deadline. */
function beforeAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/**
 * Reads the answer away, so that the socket can serve again, and keeps its beginning; beyond the limit, or when it
 * breaks off, the socket is destroyed. The status is what counts, and it has been said: nothing that a body does
 * changes it.
 */
async function readSome(body: Dispatcher.ResponseData['body']): Promise<Buffer> {
  const kept: Buffer[] = []
  let read = 0
  try {
    for await (const chunk of body) {
      const bytes = chunk as Buffer
      if (read < KEPT_BYTES) kept.push(bytes.subarray(0, KEPT_BYTES - read))
      read += bytes.length
      if (read > MAX_ANSWER_BYTES) break
    }
  } catch {
    // cut at the deadline or by the other side
  } finally {
    body.destroy()
  }
  return Buffer.concat(kept)
}

function oneValue(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}

function definedOnly(headers: Record<string, string | string[] | undefined>) {
  const defined: Record<string, string | readonly string[]> = {}
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) defined[name] = value
  return defined
}
