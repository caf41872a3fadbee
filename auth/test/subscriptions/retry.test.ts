import type { Failure } from '@flovify/providers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { judgeRetry } from '../../src/subscriptions/retry.ts'

describe('when a create is tried again', () => {
  const random = fc.double({ min: 0, max: 0.999999, noNaN: true })
  const attempts = fc.integer({ min: 1, max: 10_000 })

  test('a transient failure always, between five seconds and fifteen minutes', () => {
    fc.assert(
      fc.property(attempts, random, (tried, chance) => {
        const retry = judgeRetry({ class: 'transient', code: 'x' }, tried, chance)
        expect(retry.kind).toBe('again')
        if (retry.kind !== 'again') return
        expect(retry.inSeconds).toBeGreaterThanOrEqual(5)
        expect(retry.inSeconds).toBeLessThanOrEqual(900)
      }),
    )
  })

  test('F10 a throttled one never sooner than asked and never later than about a day', () => {
    fc.assert(
      fc.property(fc.double(), attempts, random, (asked, tried, chance) => {
        const retry = judgeRetry({ class: 'throttled', code: 'x', retryAfterSeconds: asked }, tried, chance)
        if (retry.kind !== 'again') throw new Error(retry.kind)
        expect(retry.inSeconds).toBeGreaterThanOrEqual(1)
        expect(retry.inSeconds).toBeLessThanOrEqual(86_405)
        if (asked >= 1 && asked <= 86_400) expect(retry.inSeconds).toBeGreaterThanOrEqual(asked)
      }),
    )
  })

  test('what needs somebody is not tried again', () => {
    const classes: Failure['class'][] = ['permanent', 'needs_user', 'needs_admin', 'our_configuration']
    for (const failureClass of classes)
      expect(judgeRetry({ class: failureClass, code: 'x' }, 1, 0.5)).toEqual({ kind: 'never' })
  })
})
