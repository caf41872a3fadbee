import type { DeliveryDetail } from '@flovify/client/wire'
import { describe, expect, test } from 'vitest'
import type { AttemptError } from '../../auth/src/delivery/attempt-error.ts'
import { explainAttempt, explainWait } from '../src/delivery-sentences.ts'

const DUE = '2026-01-15T12:00:00.000Z'
const LATER = '2026-01-15T12:30:00.000Z'

/** Complete by its type: what an attempt can store without a status; “aborted” is settled by nobody. */
const WITHOUT_STATUS: Record<Exclude<AttemptError, `status_${number}` | 'redirect' | 'aborted'>, true> = {
  timeout: true,
  connection_refused: true,
  connection_reset: true,
  unreachable: true,
  name_not_found: true,
  tls: true,
  bad_answer: true,
  network: true,
  vault_error: true,
  egress_not_a_url: true,
  egress_scheme: true,
  egress_userinfo: true,
  egress_port: true,
  egress_special_address: true,
  egress_name_not_found: true,
}

describe('why an attempt failed', () => {
  test.each([...Object.keys(WITHOUT_STATUS), 'egress_refused'])(
    'DO-01 %s has a sentence of its own',
    (error) => {
      const sentence = explainAttempt({ outcome: 'failed', status: null, error })
      expect(sentence).toBeDefined()
      expect(sentence).not.toContain(error)
    },
  )
  test('an error without a sentence is shown as it is', () => {
    expect(explainAttempt({ outcome: 'failed', status: null, error: 'constructor' })).toContain('constructor')
  })
})

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
