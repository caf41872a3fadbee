import { expect, test } from 'vitest'
import { openFailureDelay } from '../../src/work/failure-delay.ts'

test('work that throws again and again is tried ever later, five minutes at most, and soon again once it worked', () => {
  const failures = openFailureDelay()
  const seconds = Array.from({ length: 9 }, () => failures.failed('a'))
  expect(seconds).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300])
  expect(failures.failed('b')).toBe(5)
  failures.ended('a')
  expect(failures.failed('a')).toBe(5)
})
