/** RE-13: a backlog leaves the processors to doors that store, and is worked off all the same. */
import { beforeEach, describe, expect, test } from 'vitest'
import { openPace, type Pace } from '../../src/delivery/pace.ts'

let nowMs = 0
let pace: Pace
beforeEach(() => {
  pace = openPace(() => nowMs)
})

/** A door that stores for six seconds, told of twice a second. */
function store(deliveriesPerSecond: number) {
  for (let n = 0; n < 12; n += 1) {
    pace.stored(deliveriesPerSecond / 2)
    nowMs += 500
  }
}

describe('RE-13 the rest after a claim', () => {
  test('is none while no door stores', () => {
    expect(pace.restMs(200, 10)).toBe(0)
  })

  test('is several times what the claim took, and bounded', () => {
    store(0)
    expect(pace.restMs(200, 5)).toBe(40)
    expect(pace.restMs(200, 10)).toBe(80)
    expect(pace.restMs(200, 500)).toBe(100)
  })

  test('ends soon after the last thing that was stored', () => {
    store(0)
    nowMs += 1_000
    expect(pace.restMs(200, 10)).toBe(80)
    nowMs += 1
    expect(pace.restMs(200, 10)).toBe(0)
  })

  test.each([1, 100, 800, 2_000, 5_000, 20_000])(
    'takes twice as much as doors make, at %d deliveries a second',
    (made) => {
      store(made)
      const tookMs = 8
      const restMs = pace.restMs(200, tookMs)
      const takenPerSecond = 200_000 / (tookMs + restMs)
      expect(restMs === 0 || takenPerSecond >= 1.8 * made).toBe(true)
      expect(restMs).toBeGreaterThanOrEqual(0)
    },
  )

  test('is long again when doors still store and make no deliveries any more', () => {
    store(20_000)
    expect(pace.restMs(200, 10)).toBe(0)
    for (let n = 0; n < 4; n += 1) store(0)
    expect(pace.restMs(200, 10)).toBe(80)
  })
})
