import { expect, test } from 'vitest'
import { simulateDay } from '../../src/day.ts'
import { planDay } from '../../src/day-traffic.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'

test('a day is the same for the same seed, and has repeats, regroupings and overtaking', () => {
  const options = { seed: 7, changes: 2_000, accountsEach: 3 }
  const { sendings, owners } = planDay(options)
  expect(planDay(options).sendings).toEqual(sendings)
  expect(planDay({ ...options, seed: 8 }).sendings).not.toEqual(sendings)
  expect(owners.size).toBe(2_000)
  const numbers = sendings.flatMap(({ changes }) => changes)
  expect(new Set(numbers).size).toBe(2_000)
  expect(numbers.length).toBeGreaterThan(2_200)
  expect(new Set(sendings.map(({ source }) => source)).size).toBe(4)
})

test('WI-04 24 simulated hours of both providers, repeated, regrouped and out of order: each change is one event (short form of npm run faults -- day)', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    simulateDay(
      { databaseUrl, directory, seed: Date.now() % 1_000_000, changes: 2_500, accountsEach: 4, parts: 6 },
      () => {},
    ),
  )
  console.log('a day:', result.figures)
  expect(result.problems).toEqual([])
  expect(result.figures.events).toBe(2_500)
  expect(Number(result.figures.repeatedItems)).toBeGreaterThan(200)
  expect(Number(result.figures.daysWithEvents)).toBeGreaterThan(1)
}, 120_000)
