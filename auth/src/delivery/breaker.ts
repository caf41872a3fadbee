/**
 * What a destination's attempts say about it: whether it takes anything, since when it has not, and whether it is given
 * up. Pure: facts and time are arguments. It counts nothing by itself and changes nothing.
 *
 * Decision: the breaker opens on a rate of nine in ten of the newest 50 attempts within five minutes, of at least 20. A
 * receiver that fails every second time still gets everything by the schedule; at five in ten of few attempts chance
 * alone would open it, and hold a working receiver at one delivery in half a minute.
 */

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

/** Attempts that are looked at: so many, so far back. */
export const BREAKER_ATTEMPTS = 50
export const BREAKER_SECONDS = 300
const BREAKER_MIN_ATTEMPTS = 20
const BREAKER_FAILED_SHARE = 0.9

/** Without a success for this long it is failing, however few attempts there were. */
const FAILING_AFTER_MS = 15 * MINUTE_MS
/**
 * Without a success for this long it is disabled, if it was asked often enough to know: a destination that gets one event
 * a week has not failed for five days because two of them were refused.
 */
export const DISABLED_AFTER_DAYS = 5
const DISABLED_AFTER_MS = DISABLED_AFTER_DAYS * DAY_MS
/** Failed attempts it takes, on so many of those days: 24 hours each, counted back from now. */
export const DISABLED_MIN_ATTEMPTS = 5
const DISABLED_MIN_DAYS = 3

/** Longest that a receiver can put off the next probe, or everything, by Retry-After. */
const PROBE_MAX_MS = 60 * MINUTE_MS
const PROBE_MS = 30_000

export interface HealthFacts {
  readonly now: Date
  readonly breaker: 'closed' | 'open'
  /** As it is stored: once told. */
  readonly failingSince: Date | null
  /** The newest success; null when there is none as far back as was read. */
  readonly lastDeliveredAt: Date | null
  /** The first failure since then. */
  readonly firstFailedAt: Date | null
  /** Within the breaker's window, since the breaker last changed. */
  readonly tried: number
  readonly failed: number
  /** Of the last five days, those with a failure since `firstFailedAt`. */
  readonly failedDays: number
  /** Failures of those days; counted up to five a day. */
  readonly failedInDays: number
}

export type HealthVerdict =
  | { readonly kind: 'nothing' }
  /** Failing from `since` on; with `open` the breaker opens. */
  | { readonly kind: 'failing'; readonly since: Date; readonly open: boolean }
  /** What is stored is older than the newest success. */
  | { readonly kind: 'recovered' }
  | { readonly kind: 'give_up'; readonly since: Date }

/** After a failed attempt. */
export function judgeHealth(facts: HealthFacts): HealthVerdict {
  const { failingSince, lastDeliveredAt } = facts
  if (failingSince !== null && lastDeliveredAt !== null && lastDeliveredAt > failingSince)
    return { kind: 'recovered' }
  const since = failingSince ?? facts.firstFailedAt
  if (since === null) return { kind: 'nothing' }
  const failingMs = facts.now.getTime() - since.getTime()
  if (failingMs >= DISABLED_AFTER_MS && isAskedEnough(facts)) return { kind: 'give_up', since }
  const open = facts.breaker === 'closed' && isRateBad(facts)
  const told = failingSince !== null || failingMs < FAILING_AFTER_MS
  return open || !told ? { kind: 'failing', since, open } : { kind: 'nothing' }
}

function isAskedEnough({ failedDays, failedInDays }: HealthFacts): boolean {
  return failedDays >= DISABLED_MIN_DAYS && failedInDays >= DISABLED_MIN_ATTEMPTS
}

function isRateBad({ tried, failed }: HealthFacts): boolean {
  return tried >= BREAKER_MIN_ATTEMPTS && failed >= tried * BREAKER_FAILED_SHARE
}

/** Too many requests, and not available: with `Retry-After` both speak of the receiver, not of the one event. RFC 9110 §15.6.4, RFC 6585 §4. */
const ASKS_FOR_A_PAUSE: ReadonlySet<number> = new Set([429, 503])

/** For how long nothing more is sent there, in milliseconds; undefined: nobody asked. @param retryAfterMs what the receiver asked for */
export function holdMs(status: number | null, retryAfterMs: number | undefined): number | undefined {
  if (status === null || retryAfterMs === undefined || !ASKS_FOR_A_PAUSE.has(status)) return undefined
  return Math.min(PROBE_MAX_MS, retryAfterMs)
}

/** Until the next probe, in milliseconds. @param retryAfterMs what the receiver asked for, if anything */
export function probeDelayMs(retryAfterMs: number | undefined): number {
  return Math.min(PROBE_MAX_MS, Math.max(PROBE_MS, retryAfterMs ?? 0))
}
