/** When a refresh that failed is tried again. Pure: randomness is an argument. */
import type { Failure } from '@flovify/providers'

const DAY = 24 * 60 * 60
/** Recovery shows within this time, whatever happened before (security.md F13: resumes within five minutes). */
const MOST_TRANSIENT_SECONDS = 300
/** What clients of the identity platform wait when a throttled answer names no time (protocols/microsoft.md §1.6). */
const THROTTLED_SECONDS = 60
const MOST_ASKED_SECONDS = 3_600

/**
 * @param failures how many tries have failed in a row, this one included
 * @param random 0 ≤ random < 1
 */
export function retryInSeconds(failure: Failure, failures: number, random: number): number {
  const asked = askedSeconds(failure)
  switch (failure.class) {
    case 'transient': {
      const jittered = 1 + random * Math.min(MOST_TRANSIENT_SECONDS - 1, 2 ** Math.min(failures, 20))
      return asked === undefined ? jittered : Math.max(jittered, asked + random * 5)
    }
    case 'throttled':
      // later than asked, never earlier, and not all at once
      return (asked ?? THROTTLED_SECONDS) + random * Math.min(60, 5 * failures)
    case 'our_configuration':
      return 60 + random * 240
    case 'needs_admin':
      return DAY * (0.9 + 0.2 * random)
    // not tried again by itself
    case 'permanent':
    case 'needs_user':
      return DAY
    default:
      return failure.class satisfies never
  }
}

export function askedSeconds(failure: Failure): number | undefined {
  const asked = failure.retryAfterSeconds
  return asked === undefined || !Number.isFinite(asked)
    ? undefined
    : Math.min(MOST_ASKED_SECONDS, Math.max(1, asked))
}
