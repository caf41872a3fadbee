/** When a live subscription is renewed, and how soon again when that failed. Pure: time and chance are arguments. */
import type { Failure } from '@flovify/providers'
import { judgeRetry } from './retry.ts'

const LEAST_SECONDS = 60
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
