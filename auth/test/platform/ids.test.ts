import { expect, test } from 'vitest'
import { isId, newId, newTimedId, timeOfId } from '../../src/platform/ids.ts'

test('timed ids sort by their time, are ids of their kind, and differ within one millisecond', () => {
  const times = [0, 1, 31, 32, 1_000, 1_795_000_000_000, 1_795_000_000_001, 2 ** 45]
  const ids = times.map((ms) => newTimedId('dlv', new Date(ms)))
  expect([...ids].sort()).toEqual(ids)
  expect(ids.every((id) => isId('dlv', id))).toBe(true)
  const now = new Date()
  expect(new Set(Array.from({ length: 10_000 }, () => newTimedId('dlv', now))).size).toBe(10_000)
})

test('an id that begins with its time tells it, to the millisecond; one that does not tells none', () => {
  for (const ms of [Date.UTC(2026, 0, 1), Date.UTC(2026, 10, 27, 6, 7, 8, 9), Date.UTC(2060, 1, 2)])
    expect(timeOfId(newTimedId('dlv', new Date(ms)))?.getTime()).toBe(ms)
  for (const id of ['', 'dlv_', 'dlv_!!!!!!!!!!', `dlv_${'2'.repeat(26)}`, `dlv_${'z'.repeat(26)}`])
    expect(timeOfId(id)).toBeUndefined()
  const told = Array.from({ length: 10_000 }, () => timeOfId(newId('dlv'))).filter((at) => at !== undefined)
  expect(told.length).toBeLessThan(100)
})
