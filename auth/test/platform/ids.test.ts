import { expect, test } from 'vitest'
import { isId, newTimedId } from '../../src/platform/ids.ts'

test('timed ids sort by their time, are ids of their kind, and differ within one millisecond', () => {
  const times = [0, 1, 31, 32, 1_000, 1_795_000_000_000, 1_795_000_000_001, 2 ** 45]
  const ids = times.map((ms) => newTimedId('dlv', new Date(ms)))
  expect([...ids].sort()).toEqual(ids)
  expect(ids.every((id) => isId('dlv', id))).toBe(true)
  const now = new Date()
  expect(new Set(Array.from({ length: 10_000 }, () => newTimedId('dlv', now))).size).toBe(10_000)
})
