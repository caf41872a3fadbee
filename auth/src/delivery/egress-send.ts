/**
 * One POST over a guarded socket: sent once, never redirected, never decompressed; of the answer the status, the headers
 * and the beginning is kept, at most 64 KiB are read, and everything ends at the deadline. It says what each phase
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
  /** Bytes of the answer's body that are kept, from its beginning. */
  readonly keepBytes: number
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
      /** The beginning of the body, as much of it as was asked for. */
      readonly body: Buffer
      readonly phases: Phases
    }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly phases: Phases }
  | { readonly kind: 'failed'; readonly error: FailureCode; readonly phases: Phases }

const MAX_ANSWER_BYTES = 64 * 1024

export function send(agent: Agent, url: URL, request: EgressRequest): Promise<EgressAnswer> {
  return new Promise((resolve) => {
    const exchange = new Exchange(request, resolve)
    const { deadlineMs } = request
    try {
      attemptTimes.run(exchange.times, () =>
        agent.dispatch(
          {
            origin: url.origin,
            path: `${url.pathname}${url.search}`,
            method: 'POST',
            headers: request.headers,
            body: request.body,
            headersTimeout: deadlineMs,
            bodyTimeout: deadlineMs,
          },
          exchange,
        ),
      )
    } catch (error) {
      exchange.fail(error)
    }
  })
}

/**
 * One request and its answer, as undici tells of it: without the streams, signals and promises of its friendlier calls,
 * which cost more than the request (decision 50). The first end counts; what comes after it changes nothing.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly times: SocketTimes = {}
  readonly #request: EgressRequest
  readonly #resolve: (answer: EgressAnswer) => void
  readonly #began = monotonicMs()
  readonly #deadline: NodeJS.Timeout
  #controller: Dispatcher.DispatchController | undefined
  #ended = false
  #head: { status: number; headers: Dispatcher.ResponseData['headers']; firstByteMs: number } | undefined
  #kept: Buffer[] = []
  #read = 0

  constructor(request: EgressRequest, resolve: (answer: EgressAnswer) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#deadline = setTimeout(() => this.#cut('timeout'), request.deadlineMs)
    const { signal } = request
    if (signal?.aborted === true) this.#onAbort()
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Once a socket is there. One that ended while it waited for a socket (7.30, measured) is never sent. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#ended) controller.abort(new Error('ended'))
  }

  onResponseStart(_: unknown, status: number, headers: Dispatcher.ResponseData['headers']): void {
    // 1xx announces an answer and is none
    if (status >= 200) this.#head = { status, headers, firstByteMs: monotonicMs() - this.#began }
  }

  /** Reads the answer away, so that the socket can serve again, and keeps its beginning. */
  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // a copy: what is kept must not hold on to the socket's whole buffer
    const left = this.#request.keepBytes - this.#read
    if (left > 0) this.#kept.push(Buffer.from(chunk.subarray(0, left)))
    this.#read += chunk.length
    if (this.#read <= MAX_ANSWER_BYTES) return
    this.#answer()
    controller.abort(new Error('too much'))
  }

  onResponseEnd(): void {
    this.#answer()
  }

  onResponseError(_: unknown, error: Error): void {
    this.fail(error)
  }

  fail(error: unknown): void {
    if (error instanceof EgressRefusedError)
      this.#end({ kind: 'refused', reason: error.reason, phases: this.#phases() })
    else this.#failed(failureCodeOf(error))
  }

  readonly #onAbort = () => this.#cut('aborted')

  /** undici aborts only once a socket is there, so connecting could outlast the deadline: the end does not wait for it. */
  #cut(error: 'timeout' | 'aborted'): void {
    this.#failed(error)
    this.#controller?.abort(new Error(error))
  }

  /** The status is what counts, and once it has been said nothing that a body does changes it. */
  #failed(error: FailureCode): void {
    if (this.#head !== undefined) this.#answer()
    else this.#end({ kind: 'failed', error, phases: this.#phases() })
  }

  #answer(): void {
    if (this.#head === undefined) {
      this.#end({ kind: 'failed', error: 'bad_answer', phases: this.#phases() })
      return
    }
    const { status, headers, firstByteMs } = this.#head
    this.#end({
      kind: 'answered',
      status,
      retryAfter: oneValue(headers['retry-after']),
      headers: headers as Readonly<Record<string, string | readonly string[]>>,
      body: this.#kept.length === 1 ? (this.#kept[0] as Buffer) : Buffer.concat(this.#kept),
      phases: this.#phases(firstByteMs),
    })
  }

  #end(answer: EgressAnswer): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#deadline)
    this.#request.signal?.removeEventListener('abort', this.#onAbort)
    this.#resolve(answer)
  }

  #phases(firstByteMs?: number): Phases {
    const totalMs = monotonicMs() - this.#began
    return firstByteMs === undefined ? { ...this.times, totalMs } : { ...this.times, firstByteMs, totalMs }
  }
}

function oneValue(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
