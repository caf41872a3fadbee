/** A channel that cannot be prolonged: the new one first, then the old one is stopped. */
import type { KnownSubscription } from '@flovify/providers'
import { beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { keeping } from './keeping.ts'

describe('WI-16 a successor', () => {
  const k = keeping()
  const { pass, work, only, stopped } = k

  beforeEach(() => {
    k.g.google.isReplaced = true
  })
  const find = (secret: string | undefined): Promise<KnownSubscription | undefined> => {
    k.g.lookup.forget(k.connectionId)
    return k.g.lookup.of('google').byChannelSecret(secret ?? '')
  }
  const secretOf = (n: number) => k.g.google.creates[n]?.channelSecret.reveal()

  test('is made first; then the old one is stopped, and what it still sends is genuine until it expires', async () => {
    await pass(4 * 24 * 60)
    let early: unknown
    const create = k.g.google.createWith
    k.g.google.createWith = async (request) => {
      early = await find(request.channelSecret.reveal())
      expect(stopped()).toEqual([])
      return create(request)
    }
    expect(await work('renewals')).toBe(1)
    // its first message may come before the answer
    expect(early).toMatchObject({ connectionId: k.connectionId, providerSubscriptionId: undefined })
    expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-2' })
    expect(await find(secretOf(1))).toMatchObject({ providerSubscriptionId: 'at-provider-2' })
    expect(await find(secretOf(0))).toMatchObject({ providerSubscriptionId: 'at-provider-1' })
    expect(k.g.google.renewals).toHaveLength(0)
    expect(await work('stops')).toBe(1)
    expect(stopped()).toEqual(['at-provider-1'])
    expect(await work('stops')).toBe(0)
    expect((await k.g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.renewed')
    await pass(4 * 24 * 60)
    expect(await find(secretOf(0))).toBeUndefined()
    expect(await find(secretOf(1))).toBeDefined()
  })

  test('that could not be made leaves the old one alive, and is tried again with another secret', async () => {
    await pass(4 * 24 * 60)
    const create = k.g.google.createWith
    k.g.google.createWith = async () => ({
      kind: 'failed',
      failure: { class: 'transient', code: 'http_503' },
    })
    await work('renewals')
    expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-1' })
    expect(await find(secretOf(0))).toBeDefined()
    await pass(20)
    k.g.google.createWith = create
    expect(await work('renewals')).toBe(1)
    expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-3' })
    expect(await find(secretOf(1))).toBeUndefined()
  })

  test('that is answered after the lease was lost is stopped', async () => {
    await pass(4 * 24 * 60)
    const create = k.g.google.createWith
    k.g.google.createWith = async (request) => {
      await k.g.db.rows(sql`update auth.subscription_renewals set lease_id = gen_random_uuid()`)
      return create(request)
    }
    await work('renewals')
    await work('stops')
    expect(stopped()).toEqual(['at-provider-2'])
    expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-1' })
  })
})
