/**
 * Delivers pushes and repeats what was not acknowledged, for as long as the process lives. The providers'
 * hours are compressed: 0.2 s, 0.5 s, 1 s … 30 s. It never changes a body between two attempts.
 */
import { randomUUID } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import { type Journal, noteAttempt } from './journal.ts'
import { type PostResult, post } from './post.ts'

export const backoffMs = [200, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]

export interface Parcel {
  url: string
  body: string
  /** Asked before each attempt, because a push token may have expired in between. */
  headers(): Promise<OutgoingHttpHeaders>
  timeoutMs(attempt: number): number
  acknowledges(status: number): boolean
  /** Whether an attempt that was not acknowledged is followed by another; `null`: no answer. */
  repeats(status: number | null, attempt: number): boolean
  /** Told of each attempt; `null`: no answer in time. */
  attempted?(attempt: number, status: number | null, latencyMs: number): void
}

export interface FirstAttempt {
  deliveryId: string
  url: string
  status: number | null
  latencyMs: number
  acknowledged: boolean
}

export interface Postman {
  /** Resolves after the first attempt; further ones go on by themselves. */
  deliver(parcel: Parcel): Promise<FirstAttempt>
  /** Delivers after a delay, without being waited for. */
  deliverLater(parcel: Parcel, delayMs: number): string
  waiting(): number
  /** Gives up everything that waits for another attempt. */
  forget(): void
  close(): Promise<void>
}

/** @param isLost asked for each new push: then nobody gets it, and nobody is told */
export function createPostman(
  journal: Journal,
  now: () => number,
  log: (line: string) => void,
  isLost: () => boolean,
): Postman {
  const timers = new Set<NodeJS.Timeout>()
  const running = new Set<Promise<unknown>>()
  const closing = new AbortController()

  function later(work: () => Promise<unknown>, delayMs: number): void {
    if (closing.signal.aborted) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      const promise = work()
        .catch((error: unknown) => log(`push failed inside the simulator: ${String(error)}`))
        .finally(() => running.delete(promise))
      running.add(promise)
    }, delayMs)
    timers.add(timer)
  }

  async function attempt(parcel: Parcel, deliveryId: string, number: number): Promise<FirstAttempt> {
    const headers = await parcel.headers()
    const timeoutMs = parcel.timeoutMs(number)
    const result = await post({
      url: parcel.url,
      headers,
      body: parcel.body,
      timeoutMs,
      signal: closing.signal,
    })
    const status = statusOf(result)
    const acknowledged = status !== null && parcel.acknowledges(status)
    const outcome = { deliveryId, url: parcel.url, status, latencyMs: result.latencyMs, acknowledged }
    noteAttempt(journal, { at: new Date(now()).toISOString(), attempt: number, ...outcome })
    parcel.attempted?.(number, status, result.latencyMs)
    if (!acknowledged && parcel.repeats(status, number)) {
      const delayMs = backoffMs[Math.min(number, backoffMs.length) - 1] ?? 30_000
      later(() => attempt(parcel, deliveryId, number + 1), delayMs)
    }
    return outcome
  }

  return {
    deliver: async (parcel) => {
      const deliveryId = randomUUID()
      if (isLost()) return { deliveryId, url: parcel.url, status: null, latencyMs: 0, acknowledged: false }
      return attempt(parcel, deliveryId, 1)
    },
    deliverLater(parcel, delayMs) {
      const deliveryId = randomUUID()
      later(() => attempt(parcel, deliveryId, 1), delayMs)
      return deliveryId
    },
    waiting: () => timers.size,
    forget: () => clearAll(timers),
    async close() {
      closing.abort()
      clearAll(timers)
      await Promise.allSettled([...running])
    },
  }
}

function statusOf(result: PostResult): number | null {
  return result.kind === 'answered' ? result.status : null
}

function clearAll(timers: Set<NodeJS.Timeout>): void {
  for (const timer of timers) clearTimeout(timer)
  timers.clear()
}
