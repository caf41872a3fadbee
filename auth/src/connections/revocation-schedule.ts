/** When an unanswered revocation is tried again: soon at first, later hourly, with jitter; never before `Retry-After`. Pure. */
import type { Failure } from '@flovify/providers'

const STEPS_SECONDS = [5, 30, 120, 600, 1_800, 3_600] as const

/** @param attempts made before this one @param random 0 ≤ random < 1 */
export function nextRevocationSeconds(attempts: number, failure: Failure, random: number): number {
  const step = STEPS_SECONDS[Math.min(attempts, STEPS_SECONDS.length - 1)] ?? 3_600
  return Math.max(Math.ceil(step * (0.5 + random / 2)), failure.retryAfterSeconds ?? 0)
}
