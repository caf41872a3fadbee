/**
 * How fast a worker takes a backlog while doors store. A provider waits for its acknowledgement and has a deadline, a
 * backlog can wait, and both want the same processors and the same disk. So while doors say that they store, a claim
 * that leaves more behind is followed by a rest of several times what it took: where the machine is busy, claims take
 * longer, and so do the rests. No rest is so long that less than twice of what doors make could be taken: a steady stream
 * is worked off, and the backlog shrinks.
 */

export interface Pace {
  /** Doors have stored something, and made so many deliveries; 0 counts, too. */
  stored(deliveries: number): void
  /**
   * @param tookMs of the claim
   * @returns over how long the work of the claim may be spread before the next one; 0 when no door stores
   */
  restMs(claimed: number, tookMs: number): number
}

const REST_TIMES = 8
const LONGEST_REST_MS = 100
/** A door that stores says so twice a second. */
const BELIEVED_MS = 1_500
/** What was made counts less and less over this time. */
const REMEMBERED_MS = 3_000
const TIMES_AS_FAST = 2

/** @param monotonicMs milliseconds that never go back */
export function openPace(monotonicMs: () => number): Pace {
  let toldAt = Number.NEGATIVE_INFINITY
  /** Deliveries that still count, at `toldAt`. */
  let made = 0
  const sinceMs = () => monotonicMs() - toldAt
  return {
    stored(deliveries) {
      made = made * Math.exp(-sinceMs() / REMEMBERED_MS) + deliveries
      toldAt = monotonicMs()
    },
    restMs(claimed, tookMs) {
      if (sinceMs() > BELIEVED_MS) return 0
      const inTimeMs = (claimed * REMEMBERED_MS) / (TIMES_AS_FAST * made) - tookMs
      return Math.max(0, Math.min(REST_TIMES * tookMs, LONGEST_REST_MS, inTimeMs))
    },
  }
}
