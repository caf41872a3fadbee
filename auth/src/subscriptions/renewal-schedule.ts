/** When a live subscription is renewed, and how soon again when that failed. Pure: time and chance are arguments. */
import type { Failure, ProviderSubscriptions } from '@flovify/providers'
import { judgeRetry } from './retry.ts'

const LEAST_SECONDS = 60
const TOKEN_SECONDS = 60
/** Tokens live for 60 to 90 minutes: what renews has most of that before it. */
const WELL_VALID_SECONDS = 30 * 60
/** The refresh, the wait for a turn and one try that fails fit into it. */
const BEFORE_TOKEN_ENDS_MS = 5 * 60_000
/** Two renewals within ten minutes leave an undefined state at one provider (protocols/microsoft.md §2.5). */
const NOT_WITHIN_MS = 12.5 * 60_000
/** Somebody has to do something, and says so by connecting again; meanwhile it is looked at now and then. */
const WAITING_SECONDS = 3_600
/** Below this share of its life a subscription that is not renewed is worth an alarm. */
const EXPIRING_SHARE = 0.25

/**
 * At half of the life, or as soon as the provider asks, a tenth earlier or later, so that those which were made together
 * are not renewed together.
 * @param random 0 ≤ random < 1
 */
export function renewInSeconds(lifeSeconds: number, withinMs: number | undefined, random: number): number {
  const half = lifeSeconds / 2
  const asked = withinMs === undefined ? half : Math.min(half, withinMs / 1_000)
  // never later than asked
  return Math.max(LEAST_SECONDS, asked * (0.8 + 0.2 * random))
}

/**
 * How soon the provider asks for a renewal: by its own rule, and before the access token that makes or renews it expires
 * where it then holds its pushes back.
 * @returns milliseconds; undefined when half of the life is soon enough
 */
export function askedWithinMs(
  side: Pick<ProviderSubscriptions, 'renewWithinMs' | 'pausesWithToken'>,
  resource: string,
  tokenExpiresAt: Date,
  now: Date,
): number | undefined {
  const byRule = side.renewWithinMs?.(resource)
  if (side.pausesWithToken !== true) return byRule
  const byToken = tokenExpiresAt.getTime() - now.getTime() - BEFORE_TOKEN_ENDS_MS
  return Math.max(NOT_WITHIN_MS, Math.min(byRule ?? byToken, byToken))
}

/** How long the token must live with which a subscription is made or renewed. */
export const tokenSeconds = (side: Pick<ProviderSubscriptions, 'pausesWithToken'>): number =>
  side.pausesWithToken === true ? WELL_VALID_SECONDS : TOKEN_SECONDS

/** @param leftSeconds until it expires: an expiry is never slept through */
export function renewAgainInSeconds(
  failure: Failure,
  attempts: number,
  leftSeconds: number,
  random: number,
): number {
  const retry = judgeRetry(failure, attempts, random)
  const seconds = retry.kind === 'again' ? retry.inSeconds : WAITING_SECONDS
  return Math.max(1, Math.min(seconds, leftSeconds))
}

export function isExpiring(leftSeconds: number, lifeSeconds: number | null): boolean {
  return lifeSeconds !== null && leftSeconds < lifeSeconds * EXPIRING_SHARE
}
