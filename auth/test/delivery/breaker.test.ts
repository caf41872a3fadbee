import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type HealthFacts, judgeHealth, probeDelayMs } from '../../src/delivery/breaker.ts'

const now = new Date('2026-01-15T12:00:00Z')
const ago = (minutes: number) => new Date(now.getTime() - minutes * 60_000)
const DAY = 24 * 60
const facts = (change: Partial<HealthFacts> = {}): HealthFacts => ({
  now,
  breaker: 'closed',
  failingSince: null,
  lastDeliveredAt: null,
  firstFailedAt: ago(1),
  tried: 1,
  failed: 1,
  failedDays: 5,
  failedInDays: 5,
  ...change,
})

describe('the health of a destination', () => {
  test('DO-07 a single failure says nothing, nor do nineteen', () => {
    expect(judgeHealth(facts())).toEqual({ kind: 'nothing' })
    expect(judgeHealth(facts({ tried: 19, failed: 19 }))).toEqual({ kind: 'nothing' })
  })

  test('DO-07 the breaker opens on a rate: nine in ten of at least twenty attempts', () => {
    expect(judgeHealth(facts({ tried: 20, failed: 18 }))).toEqual({
      kind: 'failing',
      since: ago(1),
      open: true,
    })
    expect(judgeHealth(facts({ tried: 20, failed: 17 }))).toEqual({ kind: 'nothing' })
    expect(judgeHealth(facts({ tried: 50, failed: 45 }))).toMatchObject({ open: true })
  })

  test('F9 a receiver that fails every second time keeps its breaker closed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), (tried) => {
        const verdict = judgeHealth(facts({ tried, failed: Math.ceil(tried / 2) }))
        expect(verdict).toEqual({ kind: 'nothing' })
      }),
    )
  })

  test('an open breaker is not opened again', () => {
    const open = facts({ breaker: 'open', failingSince: ago(60), tried: 50, failed: 50 })
    expect(judgeHealth(open)).toEqual({ kind: 'nothing' })
  })

  test('a quarter of an hour without a success is failing, however few attempts there were, and is told once', () => {
    expect(judgeHealth(facts({ firstFailedAt: ago(14) }))).toEqual({ kind: 'nothing' })
    expect(judgeHealth(facts({ firstFailedAt: ago(15) }))).toEqual({
      kind: 'failing',
      since: ago(15),
      open: false,
    })
    expect(judgeHealth(facts({ failingSince: ago(20), firstFailedAt: ago(20) }))).toEqual({ kind: 'nothing' })
  })

  test('DO-14 five days without a success are the end, told before or not', () => {
    const since = ago(5 * DAY)
    expect(judgeHealth(facts({ failingSince: since }))).toEqual({ kind: 'give_up', since })
    expect(judgeHealth(facts({ firstFailedAt: since }))).toEqual({ kind: 'give_up', since })
    expect(judgeHealth(facts({ failingSince: ago(5 * DAY - 1) }))).toEqual({ kind: 'nothing' })
  })

  test('DO-14 two refusals five days apart are not five days of failure: it takes five attempts on three of the days', () => {
    const since = ago(6 * DAY)
    const asked = (failedDays: number, failedInDays: number) =>
      judgeHealth(facts({ failingSince: since, failedDays, failedInDays })).kind
    expect(asked(1, 1)).toBe('nothing')
    expect(asked(2, 10)).toBe('nothing')
    expect(asked(4, 4)).toBe('nothing')
    expect(asked(3, 5)).toBe('give_up')
    // it is told of as failing all the same
    expect(judgeHealth(facts({ firstFailedAt: since, failedDays: 1, failedInDays: 1 }))).toEqual({
      kind: 'failing',
      since,
      open: false,
    })
  })

  test('DO-14 a success that the row does not know of yet prevents it', () => {
    const stale = facts({ failingSince: ago(6 * DAY), lastDeliveredAt: ago(10) })
    expect(judgeHealth(stale)).toEqual({ kind: 'recovered' })
  })

  test('DO-07 a probe comes no sooner than after 30 s, later if the receiver asks, at most an hour', () => {
    expect(probeDelayMs(undefined)).toBe(30_000)
    expect(probeDelayMs(1_000)).toBe(30_000)
    expect(probeDelayMs(120_000)).toBe(120_000)
    expect(probeDelayMs(24 * 3_600_000)).toBe(3_600_000)
  })
})
