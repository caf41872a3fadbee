/** What is over is stopped at the provider, by due rows, until the provider knows. */
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { chooseSubscription } from '../../src/subscriptions/choices.ts'
import { reconcile } from '../../src/subscriptions/reconcile.ts'
import { reconcileNow } from '../../src/subscriptions/reconcile-store.ts'
import { adoptOrphans } from '../../src/subscriptions/stop-work.ts'
import { WEBHOOKS } from '../connections/ground.ts'
import { keeping } from './keeping.ts'

describe('WI-16 a stop', () => {
  const k = keeping()
  const { pass, work, only, stopped, viewer } = k

  const adopt = async (...ids: string[]) => {
    const { id } = await only()
    const orphans = ids.map((providerSubscriptionId) => ({ subscriptionId: id, providerSubscriptionId }))
    return adoptOrphans(k.g.needs, orphans)
  }

  /** No scope is left that anything could be watched by. */
  const allowNothing = (provider: string) =>
    k.g.db.transaction((tx) =>
      k.g.subscriptions.subscribe(tx, {
        id: k.connectionId,
        provider,
        grantedScopes: ['openid'],
        fresh: false,
      }),
    )

  test('orphans are those that the row does not have; said twice they are stopped once', async () => {
    expect(await adopt('at-provider-1', 'lost', 'lost')).toBe(1)
    expect(await adopt('lost')).toBe(0)
    expect(await work('stops')).toBe(1)
    expect(stopped()).toEqual(['lost'])
  })

  test('nothing is an orphan while its own create call may be on the way, or its connection ends', async () => {
    await k.g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
    expect(await adopt('lost')).toBe(0)
    await k.g.db.rows(sql`update auth.subscriptions set state = 'active'`)
    await k.g.db.rows(sql`update auth.oauth_tokens set status = 'revoking'`)
    expect(await adopt('lost')).toBe(0)
  })

  test('a create call that is repeated first ends what the earlier one may have made', async () => {
    const { id } = await only()
    await k.g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
    await k.g.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock(), attempts = 1`)
    const order: string[] = []
    k.g.google.listWith = async () => ({
      kind: 'listed',
      items: [
        {
          providerSubscriptionId: 'lost',
          notificationUrl: `${WEBHOOKS}/webhook/events/google/${k.g.channelKeys.mintRef(id as never)}`,
        },
        { providerSubscriptionId: 'other', notificationUrl: `${WEBHOOKS}/webhook/events/google/x` },
      ],
    })
    k.g.google.stopWith = async () => {
      order.push('stop')
      return { kind: 'stopped' }
    }
    const create = k.g.google.createWith
    k.g.google.createWith = async (request) => {
      order.push('create')
      return create(request)
    }
    await work('renewals')
    expect(order).toEqual(['stop', 'create'])
    expect(stopped()).toEqual(['lost'])
    expect(await only()).toMatchObject({ state: 'active' })
  })

  test('is tried again until the provider has answered, and given up where the answer is final', async () => {
    await adopt('lost')
    k.g.google.stopWith = async () => ({
      kind: 'failed',
      failure: { class: 'throttled', code: 'x', retryAfterSeconds: 300 },
    })
    await work('stops')
    await pass(4)
    expect(await work('stops')).toBe(0)
    await pass(2)
    k.g.google.stopWith = async () => ({ kind: 'failed', failure: { class: 'permanent', code: 'x' } })
    expect(await work('stops')).toBe(1)
    await pass(24 * 60)
    expect(await work('stops')).toBe(0)
    expect(stopped()).toHaveLength(2)
  })

  test('without a token for the moment it is tried again soon; without a person, each hour', async () => {
    await adopt('lost')
    k.unavailable = true
    await work('stops')
    await pass(1)
    k.unavailable = false
    expect(await work('stops')).toBe(1)
    expect(stopped()).toEqual(['lost'])
  })

  test('what the account shares is not stopped while anybody watches it', async () => {
    k.g.google.sharedByAccount = true
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
    const { id } = await only()
    await chooseSubscription(k.g.needs, viewer(), id, { enabled: false })
    await chooseSubscription(k.g.needs, viewer(), id, { enabled: true })
    expect(await work('stops')).toBe(1)
    expect(stopped()).toEqual([])
    k.g.google.sharedByAccount = false
  })

  test('a provider that is switched off for a while loses nothing', async () => {
    await allowNothing('unknown')
    expect(await only()).toMatchObject({ state: 'active' })
  })

  test('reconciling makes nothing due that waits for its next try', async () => {
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
    await k.g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
    await reconcile(k.g.needs)
    expect(await work('renewals')).toBe(0)
    await k.g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
    await reconcile(k.g.needs)
    expect(await work('renewals')).toBe(1)
  })

  test('a start reconciles although another process is at it: that one may know an older setting', async () => {
    await k.g.db.rows(sql`
      insert into auth.chores (id, due_at, lease_until, lease_id)
      values ('reconcile-subscriptions', auth.clock(), auth.clock() + interval '1 minute', gen_random_uuid())`)
    await reconcileNow(k.g.db)
    const due = sql`select 1 from auth.chores where due_at <= auth.clock() and lease_until is null and lease_id is null`
    expect(await k.g.db.rows(due)).toHaveLength(1)
    await k.g.db.rows(sql`delete from auth.chores`)
  })

  test('a scope that is gone ends its subscription at the provider too', async () => {
    await allowNothing('google')
    expect(await only()).toMatchObject({ state: 'stopped' })
    expect(await work('stops')).toBe(1)
    expect(stopped()).toEqual(['at-provider-1'])
  })
})
