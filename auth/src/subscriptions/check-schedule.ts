/**
 * What a check says about a subscription, and when the next one is. Pure: time and chance are arguments. A change counts
 * as missed only when nothing was pushed since everything was known to be, and the provider's own delay has passed.
 */

export interface CheckFacts {
  readonly now: Date
  /** Up to here everything is known to have been pushed; null before the first check. */
  readonly checkedAt: Date | null
  /** When a change was first seen that waits for its push. */
  readonly suspectedAt: Date | null
  readonly lastNotificationAt: Date | null
  /** Whether the provider says that something changed since `checkedAt`. */
  readonly changed: boolean
  /** Whether the provider could not count from `checkedAt` any more. */
  readonly lost?: true
  readonly pushDelayMs: number
  /** When the newest change was made, where the provider says so: then its push is what is looked for. */
  readonly newestAt: Date | undefined
}

export type CheckVerdict =
  /** Nothing to be missed, or it was pushed: counted anew from now. */
  | { readonly kind: 'well' }
  /** Its push may still come: looked at again in `inSeconds`, from the same place. */
  | { readonly kind: 'suspected'; readonly since: Date; readonly inSeconds: number }
  /** Not pushed in all that time. */
  | { readonly kind: 'missed'; readonly from: Date }
  /** Nobody can say: it has to be caught up with, and is no reason to doubt the subscription. */
  | { readonly kind: 'unknown'; readonly from: Date }

/** Clocks differ: a push that seems to come this much before its change is still its push. */
const SKEW_MS = 30_000
/** The note of a last notification may come so much later than it (touch.ts). */
const NOTE_MS = 75_000

export function judgeCheck(facts: CheckFacts): CheckVerdict {
  const { now, checkedAt, lastNotificationAt } = facts
  if (checkedAt === null) return { kind: 'well' }
  if (facts.lost) return { kind: 'unknown', from: checkedAt }
  if (!facts.changed) return { kind: 'well' }
  // a change since the last check that claims to be older (an imported message keeps its date) tells no time
  const isTold = facts.newestAt !== undefined && facts.newestAt.getTime() >= checkedAt.getTime() - SKEW_MS
  const newestAt = isTold ? facts.newestAt : undefined
  const expectedFrom = newestAt === undefined ? checkedAt.getTime() : newestAt.getTime() - SKEW_MS
  if (lastNotificationAt !== null && lastNotificationAt.getTime() >= expectedFrom) return { kind: 'well' }
  const since = newestAt ?? facts.suspectedAt ?? now
  const waitedMs = now.getTime() - since.getTime()
  const leftMs = Math.max(facts.pushDelayMs, NOTE_MS) - waitedMs
  if (leftMs > 0) return { kind: 'suspected', since, inSeconds: Math.max(1, leftMs / 1_000) }
  return { kind: 'missed', from: checkedAt }
}

/** Up to half as much again: providers ask for randomised intervals. @param random 0 ≤ random < 1 */
export function checkInSeconds(everySeconds: number, random: number): number {
  return everySeconds * (1 + random / 2)
}
