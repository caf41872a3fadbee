import { describe, expect, test } from 'vitest'
import { distance, duration, shortTime } from '../src/times.ts'

const now = new Date(2026, 10, 23, 12, 0, 0)
const after = (seconds: number) => new Date(now.getTime() + seconds * 1000)

describe('times for people', () => {
  test('today by the second, other days by the day', () => {
    expect(shortTime(after(-61), now)).toBe('11:58:59')
    expect(shortTime(after(-86_400), now)).toBe('Nov 22, 12:00')
  })
  test.each([
    [-3, '3 seconds ago'],
    [150, 'in 3 minutes'],
    [-7200, '2 hours ago'],
    [3 * 86_400, 'in 3 days'],
  ])('%i seconds is %s', (seconds, text) => {
    expect(distance(after(seconds), now)).toBe(text)
  })
  test('durations', () => {
    expect([duration(12.4), duration(999), duration(1503)]).toEqual(['12 ms', '999 ms', '1.5 s'])
  })
})
