/** Short forms of `npm run faults -- hostile-traffic` and `shuffled-copies`. */
import { expect, test } from 'vitest'
import { sendHostileTraffic, withHostileTraffic } from '../../src/hostile-traffic.ts'
import { sendShuffledCopies } from '../../src/shuffled-copies.ts'

const quiet = () => {}

test('F18 RE-15 five copies of each notification in any order are one event each, delivered once', async () => {
  await withHostileTraffic(async (world) => {
    const copies = await sendShuffledCopies(
      world,
      { seed: Date.now() % 1_000_000, rounds: 2, each: 300 },
      quiet,
    )
    console.log('five copies of each, shuffled:', copies)
    expect(copies.problems).toEqual([])
  })
}, 120_000)

test('F19 hostile bodies are answered, stored and delivered as they are, and harm nothing beside them', async () => {
  await withHostileTraffic(async (world) => {
    const hostile = await sendHostileTraffic(world, { seconds: 3, perSecond: 50 }, quiet)
    console.log('hostile bodies:', hostile)
    expect(hostile.problems).toEqual([])
    expect(hostile.figures.hostile).toMatchObject({ 200: expect.any(Number), 400: expect.any(Number) })
  })
}, 240_000)
