/** The short form of `npm run faults -- subscriptions`: a simulated day, each kind of fault once by a seed. */
import { expect, test } from 'vitest'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { subscriptionWeeks } from '../../src/subscription-weeks.ts'

test('WI-16 OA-13 a day with faults of every kind: what pushes no more is found in time, each gap is written down, none lives twice', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    subscriptionWeeks(
      { databaseUrl, directory, connections: 30, days: 1, stepHours: 4, seed: 7, faultsAStep: 5 },
      () => {},
    ),
  )
  console.log('a day of subscriptions:', result.figures)
  expect(result.problems).toEqual([])
}, 240_000)
