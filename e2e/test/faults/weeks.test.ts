/** The short form of `npm run faults -- subscriptions`: two simulated days, faults by a seed. */
import { expect, test } from 'vitest'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { subscriptionWeeks } from '../../src/subscription-weeks.ts'

test('WI-16 OA-13 two days with faults: what vanished is found in time, each gap is written down, none lives twice', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    subscriptionWeeks({ databaseUrl, directory, connections: 30, days: 2, stepHours: 3, seed: 7 }, () => {}),
  )
  console.log('two days of subscriptions:', result.figures)
  expect(result.problems).toEqual([])
  expect(Number(result.figures.vanished)).toBeGreaterThan(0)
}, 240_000)
