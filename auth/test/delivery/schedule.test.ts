import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextTry, RETRY_STEPS_MS, retryAfterMs } from '../../src/delivery/schedule.ts'

const HOUR = 3_600_000
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

/** Waits of a delivery that fails every time. */
function waits(chances: readonly number[]): number[] {
  const delays: number[] = []
  for (let failed = 1; ; failed += 1) {
    const next = nextTry(failed, undefined, () => chances[failed - 1] ?? 0)
    if (next.kind === 'exhausted') return delays
    delays.push(next.delayMs)
  }
}

describe('the retry schedule', () => {
  test('DO-07 has ten tries within 75 hours 36 minutes, and never gives up before 51 hours', () => {
    fc.assert(
      fc.property(fc.array(random, { minLength: 9, maxLength: 9 }), (chances) => {
        const delays = waits(chances)
        const total = delays.reduce((sum, delay) => sum + delay, 0)
        expect(delays).toHaveLength(9)
        expect(total).toBeLessThanOrEqual(75.6 * HOUR)
        expect(total).toBeGreaterThan(51 * HOUR)
      }),
    )
  })

  test('DO-07 the first retry comes within five seconds, and each wait lies between the step before and its own', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), random, (failed, chance) => {
        const next = nextTry(failed, undefined, () => chance)
        if (next.kind !== 'again') throw new Error('gave up early')
        expect(next.delayMs).toBeLessThanOrEqual(RETRY_STEPS_MS[failed - 1] ?? 0)
        expect(next.delayMs).toBeGreaterThanOrEqual(RETRY_STEPS_MS[failed - 2] ?? 0)
        if (failed === 1) expect(next.delayMs).toBeLessThanOrEqual(5_000)
      }),
    )
  })

  test('DO-07 the jitter uses the whole room: chance 0 and chance almost 1 lie at its two ends', () => {
    expect(nextTry(4, undefined, () => 0)).toEqual({ kind: 'again', delayMs: 0.5 * HOUR })
    expect(nextTry(4, undefined, () => 0.999_999_999_9)).toEqual({ kind: 'again', delayMs: 2 * HOUR })
  })

  test('DO-07 after the tenth failure there is no further try, whatever the receiver asks', () => {
    for (const failed of [10, 11, 500])
      expect(nextTry(failed, 1_000, Math.random)).toEqual({ kind: 'exhausted' })
  })

  test('DO-07 a destination’s own plan has its own number of tries and jitter, also where its steps do not grow', () => {
    const steps = [60_000, 60_000, 10_000]
    expect(nextTry(1, undefined, () => 0.5, steps)).toEqual({ kind: 'again', delayMs: 30_000 })
    expect(nextTry(2, undefined, () => 0, steps)).toEqual({ kind: 'again', delayMs: 30_000 })
    expect(nextTry(3, undefined, () => 0.999_999_999, steps)).toEqual({ kind: 'again', delayMs: 10_000 })
    expect(nextTry(4, undefined, () => 0, steps)).toEqual({ kind: 'exhausted' })
    expect(nextTry(1, undefined, () => 0, [])).toEqual({ kind: 'exhausted' })
  })

  test('DO-07 Retry-After puts a try off and never brings one forward', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), random, fc.nat(24 * HOUR), (failed, chance, asked) => {
        const plain = nextTry(failed, undefined, () => chance)
        const next = nextTry(failed, asked, () => chance)
        if (next.kind !== 'again' || plain.kind !== 'again') throw new Error('gave up early')
        expect(next.delayMs).toBe(Math.max(plain.delayMs, asked))
      }),
    )
  })
})

describe('Retry-After', () => {
  const now = new Date('2026-01-15T12:00:00Z')

  test.each([
    ['120', 120_000],
    [' 7 ', 7_000],
    ['0', 1_000],
    ['99999999999999999999', 24 * HOUR],
    ['Thu, 15 Jan 2026 12:01:30 GMT', 90_000],
    ['Thu, 15 Jan 2026 11:00:00 GMT', 1_000],
    ['Fri, 15 Jan 2027 12:00:00 GMT', 24 * HOUR],
  ])('%j is %d ms', (header, expected) => {
    expect(retryAfterMs(header, now)).toBe(expected)
  })

  test.each([undefined, '', 'soon', '-5', '1.5', '2026-01-15T12:01:30Z', 'Thu, 99 Jan 2026 12:01:30 GMT'])(
    '%j is nothing',
    (header) => {
      expect(retryAfterMs(header, now)).toBeUndefined()
    },
  )

  test('is nothing or between one second and a day, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.nat().map(String), fc.date().map(String)), (header) => {
        const ms = retryAfterMs(header, now)
        if (ms === undefined) return
        expect(ms).toBeGreaterThanOrEqual(1_000)
        expect(ms).toBeLessThanOrEqual(24 * HOUR)
      }),
    )
  })
})
