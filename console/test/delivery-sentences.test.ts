import type { DeliveryDetail } from '@flovify/client/wire'
import { describe, expect, test } from 'vitest'
import { explainWait } from '../src/delivery-sentences.ts'

const DUE = '2026-01-15T12:00:00.000Z'
const LATER = '2026-01-15T12:30:00.000Z'

describe('what an open delivery waits for', () => {
  const wait = (waiting: DeliveryDetail['waiting'], more: Partial<DeliveryDetail> = {}) =>
    explainWait({ state: 'open', waiting, due_at: DUE, held_until: null, probe_at: null, ...more })

  test.each(['paused', 'disabled', 'sending', 'throttled'] as const)(
    '%s: said in words, without a time that would not be kept',
    (waiting) => {
      expect(wait(waiting)?.text).toBeDefined()
      expect(wait(waiting)?.at).toBeUndefined()
    },
  )
  test('the time is that of the next attempt, of the probe, or of the end of what the receiver asked for', () => {
    expect(wait('scheduled')).toEqual({ at: DUE })
    expect(wait('breaker_open', { probe_at: LATER })).toMatchObject({ at: LATER })
    expect(wait('throttled', { held_until: LATER })).toMatchObject({ at: LATER, text: expect.anything() })
    expect(wait('scheduled', { due_at: LATER, held_until: DUE })).toEqual({ at: LATER })
  })
  test('one that has ended waits for nothing', () => {
    expect(wait(null, { state: 'dead' })).toBeUndefined()
  })
})
