/** When a failed create is tried again, if at all. Pure: randomness is an argument. */
import type { Failure } from '@flovify/providers'

export type Retry = { readonly kind: 'again'; readonly inSeconds: number } | { readonly kind: 'never' }

const LEAST_SECONDS = 5
const MOST_SECONDS = 15 * 60
const MOST_ASKED_SECONDS = 24 * 60 * 60

/**
 * Transient: exponential with full jitter, 5 s to 15 min. Throttled: as long as the provider asks, up to a day. The
 * other classes need somebody: not again by itself.
 * @param attempts how often it was tried, at least 1
 * @param random 0 ≤ random < 1
 */
export function judgeRetry(failure: Failure, attempts: number, random: number): Retry {
  switch (failure.class) {
    case 'transient':
      return { kind: 'again', inSeconds: backOff(attempts, random) }
    case 'throttled': {
      const asked = failure.retryAfterSeconds
      const inSeconds =
        asked === undefined || !Number.isFinite(asked)
          ? backOff(attempts, random)
          : // a little later than asked, so that all who were told the same do not come at once
            Math.min(MOST_ASKED_SECONDS, Math.max(1, asked)) + random * LEAST_SECONDS
      return { kind: 'again', inSeconds }
    }
    case 'permanent':
    case 'needs_user':
    case 'needs_admin':
    case 'our_configuration':
      return { kind: 'never' }
    default:
      return failure.class satisfies never
  }
}

function backOff(attempts: number, random: number): number {
  const most = Math.min(MOST_SECONDS, LEAST_SECONDS * 2 ** Math.min(attempts, 20))
  return LEAST_SECONDS + random * (most - LEAST_SECONDS)
}
