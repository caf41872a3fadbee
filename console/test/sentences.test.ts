import type { DeliveryView } from '@flovify/client/wire'
import { describe, expect, test } from 'vitest'
import type { AuthorizationFailureReason } from '../../providers/src/provider.ts'
import { explainDeliveries, explainFinish, explainReason, nameEvent } from '../src/sentences.ts'

/** Complete by its type: a new reason in the contract fails to compile here until it is listed, and then to pass. */
const REASONS: Record<AuthorizationFailureReason, true> = {
  access_denied: true,
  admin_required: true,
  temporarily_unavailable: true,
  provider_error: true,
}
const general = explainReason(null)

describe('reasons of /auth/error', () => {
  test.each(Object.keys(REASONS))('%s has a sentence of its own', (reason) => {
    expect(explainReason(reason)).not.toEqual(general)
  })
  test.each(['', 'unheard_of', 'constructor', '__proto__', 'toString', '<img src=x>', 'ACCESS_DENIED'])(
    'BC-07 %j gets the general sentence and is not shown',
    (reason) => {
      expect(explainReason(reason)).toEqual(general)
      if (reason.length > 3) expect(JSON.stringify(explainReason(reason))).not.toContain(reason)
    },
  )
})

describe('why finishing failed', () => {
  test('each cause has its own sentence', () => {
    const titles = [
      { status: 401, error: 'sign_in_required' },
      { status: 409, error: 'flow_refused' },
      { status: 502, error: 'exchange_failed' },
      { status: 503, error: 'unavailable' },
      { status: 500, error: 'internal' },
    ].map((failure) => explainFinish(failure).title)
    expect(new Set(titles).size).toBe(titles.length)
  })
})

describe('the state of an event', () => {
  const delivery = (state: DeliveryView['state'], attempts = 0) =>
    ({ state, attempts: Array(attempts).fill({}) }) as DeliveryView
  test.each<[string, DeliveryView[]]>([
    ['No destination', []],
    ['Delivered', [delivery('delivered')]],
    ['Waiting', [delivery('open')]],
    ['Retrying', [delivery('open', 2)]],
    ['Failed', [delivery('dead')]],
    ['Failed 1/3', [delivery('delivered'), delivery('dead'), delivery('open')]],
    ['Delivered 2/2', [delivery('delivered'), delivery('delivered')]],
    ['Expired 1/2', [delivery('open'), delivery('expired')]],
  ])('%s: the worst delivery speaks', (label, deliveries) => {
    expect(explainDeliveries(deliveries).label).toBe(label)
  })
})

describe('names of events', () => {
  test('do not depend on the prefix', () => {
    expect(nameEvent('ca.flovify.connection.v1.created')).toBe('Account connected')
    expect(nameEvent('com.example.connection.v1.created')).toBe('Account connected')
    expect(nameEvent('connection.v1.created')).toBe('Account connected')
  })
  test('are the type itself where there is none', () => {
    expect(nameEvent('x.disconnection.v1.created')).toBe('x.disconnection.v1.created')
  })
})
