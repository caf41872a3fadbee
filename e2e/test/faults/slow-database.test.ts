import { expect, test } from 'vitest'
import { slowDown, withSlowDatabase } from '../../src/slow-database.ts'

test('F6 RE-05 PostgreSQL is slow, all connections wait, a deadlock: 2xx or 503 in time, nothing lost (short form of npm run faults -- slow-database)', async () => {
  const result = await withSlowDatabase((world, proxy) =>
    slowDown(world, proxy, { rounds: 1, perSecond: 50, faultMs: 4_000, answerMs: 4_000 }, () => {}),
  )
  console.log('a slow database:', result)
  expect(result.problems).toEqual([])
}, 240_000)
