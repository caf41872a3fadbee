/**
 * When a failed delivery is tried again, and when it is given up. Pure: time and chance are arguments.
 *
 * Decision: the steps are those of Standard Webhooks (ten tries, 75 hours 35 minutes at most). The jitter of each wait
 * is uniform over everything between the step before and its own step. Jitter from zero up would halve the promised
 * span on average, and let about one delivery in ten thousand use up all its tries inside a six-hour outage; this way
 * no delivery dies before 51 hours, and retries still spread over hours.
 *
 * Decision: `Retry-After` is a lower bound. It can put a try off (up to 24 h), never bring one forward: a receiver that
 * keeps saying "1" would otherwise use up ten tries in ten seconds, and the event would be lost to it.
 */

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Longest wait before try 2, 3, … 10. Source: Standard Webhooks specification, "Retry schedule" (read 2026). */
export const RETRY_STEPS_MS: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

const RETRY_AFTER_MIN_MS = SECOND
const RETRY_AFTER_MAX_MS = 24 * HOUR

export type Next = { readonly kind: 'again'; readonly delayMs: number } | { readonly kind: 'exhausted' }

/**
 * @param failedTries tries of this plan that have failed by now, this one included
 * @param retryAfterMs what the receiver asked for, if anything
 * @param random uniform in [0, 1)
 * @param steps the destination's own plan where it has one; its steps need not grow
 */
export function nextTry(
  failedTries: number,
  retryAfterMs: number | undefined,
  random: () => number,
  steps: readonly number[] = RETRY_STEPS_MS,
): Next {
  const step = steps[failedTries - 1]
  if (step === undefined) return { kind: 'exhausted' }
  const before = steps[failedTries - 2] ?? 0
  const floor = before < step ? before : step / 2
  const jittered = Math.round(floor + random() * (step - floor))
  return { kind: 'again', delayMs: Math.max(jittered, retryAfterMs ?? 0) }
}

/**
 * `Retry-After` in milliseconds from `now`, clamped to [1 s, 24 h]; undefined when it is absent or malformed.
 * Source: RFC 9110 §10.2.3 (delay-seconds or HTTP-date).
 */
export function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined || header.length > 64) return undefined
  const text = header.trim()
  if (/^\d+$/.test(text)) return clamp(Number(text) * SECOND)
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text))
    return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : clamp(at - now.getTime())
}

function clamp(ms: number): number {
  return Math.min(RETRY_AFTER_MAX_MS, Math.max(RETRY_AFTER_MIN_MS, ms))
}
