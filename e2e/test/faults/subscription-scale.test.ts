/** The short form of `npm run faults -- subscription-scale`. */
import { expect, test } from 'vitest'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { subscriptionScale } from '../../src/subscription-scale.ts'

test('WI-16 many subscriptions are made and renewed within the limit of calls, also after six hours without their providers', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    subscriptionScale(
      { databaseUrl, directory, connections: 300, perSecond: 100, stepMinutes: 240 },
      () => {},
    ),
  )
  console.log('subscriptions at scale:', result.figures)
  expect(result.problems).toEqual([])
  expect(result.figures.outage).toBeDefined()
}, 240_000)
