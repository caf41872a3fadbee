import { expect, test } from 'vitest'
import { fillTheDisk, onSmallDisk } from '../../src/disk-full.ts'

test('F7 RE-05 the disk of PostgreSQL is full: 503, nothing lost or damaged, and it goes on when there is room (short form of npm run faults -- disk-full)', async () => {
  const result = await onSmallDisk(undefined, (world, disk) =>
    fillTheDisk(world, disk, { rounds: 1, perSecond: 50, fullMs: 2_000, betweenMs: 500 }, () => {}),
  )
  console.log('a full disk:', result)
  expect(result.problems).toEqual([])
}, 240_000)
