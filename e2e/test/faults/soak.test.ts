import { expect, test } from 'vitest'
import { withReceiving } from '../../src/receiving.ts'
import { soak } from '../../src/soak.ts'

test('RE-14 a steady load with faults by turns: nothing lost, deliveries soon young again, no memory and no file kept (short form of npm run faults -- soak)', async () => {
  const result = await withReceiving({}, (world) =>
    soak(world, { rounds: 1, perSecond: 50, quietMs: 1_000, growthMib: 128 }, () => {}),
  )
  console.log('a soak:', result)
  expect(result.problems).toEqual([])
}, 240_000)
