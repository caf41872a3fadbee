/**
 * WI-02: how long a comparison takes says nothing about how many bytes were right. Long inputs, so that what a comparison
 * that ends at the first difference would tell is far above the noise: the same measurement finds it in one that does.
 */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { sameBytes } from '../../src/platform/ids.ts'

const LENGTH = 8_192
const PREFIXES = [0, 1, 2, 3, 4, 5, 6, 7].map((eighth) => (eighth * LENGTH) / 8)
const ROUNDS = 300
const CALLS = 40

/** Ends at the first difference, as `===` and `Buffer.equals` may. */
function untilDifferent(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
}

/**
 * The slope of the time over the length of the right prefix: 1 when the longest takes twice the mean more than none.
 * Inputs by turns, so that whatever else the machine does meets all alike; the lower quartile, so that interruptions do not count.
 */
function slopeOf(same: (a: Uint8Array, b: Uint8Array) => boolean): number {
  const secret = randomBytes(LENGTH)
  const guesses = PREFIXES.map((right) => {
    const guess = Buffer.from(secret)
    guess[right] = (guess[right] ?? 0) ^ 1
    return guess
  })
  const times = guesses.map(() => [] as number[])
  for (let round = 0; round < ROUNDS; round += 1)
    for (const place of PREFIXES.keys()) {
      // another order each round
      const at = (place * 5 + round) % PREFIXES.length
      const guess = guesses[at] ?? secret
      const began = process.hrtime.bigint()
      for (let call = 0; call < CALLS; call += 1) if (same(secret, guess)) throw new Error('a wrong guess')
      times[at]?.push(Number(process.hrtime.bigint() - began))
    }
  const typical = times.map((all) => all.sort((a, b) => a - b)[all.length >> 2] ?? 0)
  const mean = typical.reduce((sum, ns) => sum + ns, 0) / typical.length
  const middle = (PREFIXES.length - 1) / 2
  const spread = PREFIXES.reduce((sum, _, i) => sum + (i - middle) ** 2, 0)
  const slope = typical.reduce((sum, ns, i) => sum + (i - middle) * (ns - mean), 0) / spread
  return (slope * PREFIXES.length) / mean
}

test('WI-02 the time of a comparison has no slope over the length of the right prefix', () => {
  // the first measurement of each warms the compiler up
  for (const same of [untilDifferent, sameBytes]) slopeOf(same)
  expect(slopeOf(untilDifferent)).toBeGreaterThan(1)
  expect(Math.abs(slopeOf(sameBytes))).toBeLessThan(0.25)
})
