/** Successors, stops, checks, discovery, orphans and choices: the due rows that keep actual equal to wanted. */
import type { KnownSubscription, WantedSubscription } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { checkInSeconds, judgeCheck } from '../../src/subscriptions/check-schedule.ts'
import { subscriptionChecks } from '../../src/subscriptions/check-work.ts'
import { chooseSubscription, renewNow } from '../../src/subscriptions/choices.ts'
import { countUnwell } from '../../src/subscriptions/health-store.ts'
import { reconcile } from '../../src/subscriptions/reconcile.ts'
import { reconcileNow } from '../../src/subscriptions/reconcile-store.ts'
import { adoptOrphans, subscriptionStops } from '../../src/subscriptions/stop-work.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { connectAlice } from '../connections/connected.ts'
import { type Ground, openGround, WEBHOOKS } from '../connections/ground.ts'

const DAY_MS = 24 * 3600_000
const LIST: WantedSubscription = { kind: 'mail', resource: 'me/messages' }

describe('WI-16 what keeps subscriptions alive', () => {
  let g: Ground
  let renewals: WorkKind<DueRow>
  let checks: WorkKind<DueRow>
  let stops: WorkKind<DueRow>
  let leases = 0
  let alice = ''
  let connectionId = ''
  let unavailable = false
  beforeAll(async () => {
    g = await openGround()
    const needs = {
      ...g.needs,
      accessToken: async (id: string, seconds: number) =>
        unavailable ? ({ kind: 'expired' } as const) : accessToken(g.needs, id, seconds),
      channelKeys: g.channelKeys,
      lookup: g.lookup,
      random: () => 0.5,
      checkEverySeconds: 600,
    }
    renewals = subscriptionRenewals(needs)
    checks = subscriptionChecks(needs)
    stops = subscriptionStops(needs)
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    Object.assign(g.google, { isReplaced: false, discoverWith: undefined, listWith: undefined })
    g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor: 'c1' })
    g.google.stopWith = async () => ({ kind: 'stopped' })
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: `at-provider-${g.google.creates.length}`,
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    g.google.renewWith = async () => ({
      kind: 'renewed',
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    ;({ userId: alice, connectionId } = await connectAlice(g))
    await work(renewals)
  })

  const now = async () => (await g.db.one<{ now: Date }>(sql`select auth.clock() as now`))?.now ?? new Date()
  const pass = (minutes: number) =>
    g.db.rows(sql`
      with moved as (update auth.clock_offset set offset_ms = offset_ms + ${minutes * 60_000} returning offset_ms)
      select auth.ensure_days((now() at time zone 'UTC')::date + (offset_ms / 86400000)::int - 1, (now() at time zone 'UTC')::date + (offset_ms / 86400000)::int + 2) from moved`)
  const work = async (kind: WorkKind<DueRow>) => {
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    const rows = await kind.claim(g.db, { id, seconds: 30, limit: 10 })
    for (const row of rows) await kind.run(row, new AbortController().signal)
    return rows.length
  }
  const subscriptions = () =>
    g.db.rows<{
      id: string
      kind: string
      state: string
      provider_subscription_id: string | null
      silent: boolean
    }>(
      sql`select id, kind, state, provider_subscription_id, silent_since is not null as silent from auth.subscriptions order by kind, created_at`,
    )
  const only = async () => {
    const [row, ...others] = await subscriptions()
    if (row === undefined || others.length > 0) throw new Error('not one subscription')
    return row
  }
  const stopped = () => g.google.stopped.map((stop) => stop.providerSubscriptionId)
  const gaps = () =>
    g.db.rows<{ reason: string; minutes: number }>(
      sql`select reason, round(extract(epoch from coalesce(to_at, auth.clock()) - from_at) / 60)::int as minutes from auth.subscription_gaps order by id`,
    )
  const notified = async () =>
    g.db.rows(sql`update auth.subscriptions set last_notification_at = auth.clock()`)
  const changed = (cursor: string) => {
    g.google.checkWith = async () => ({ kind: 'checked', changed: true, cursor })
  }
  const viewer = () => ({ userId: alice, role: 'user' })

  describe('a successor', () => {
    beforeEach(() => {
      g.google.isReplaced = true
    })
    const find = (secret: string | undefined): Promise<KnownSubscription | undefined> => {
      g.lookup.forget(connectionId)
      return g.lookup.of('google').byChannelSecret(secret ?? '')
    }
    const secretOf = (n: number) => g.google.creates[n]?.channelSecret.reveal()

    test('is made first; then the old one is stopped, and what it still sends is genuine until it expires', async () => {
      await pass(4 * 24 * 60)
      let early: unknown
      const create = g.google.createWith
      g.google.createWith = async (request) => {
        early = await find(request.channelSecret.reveal())
        expect(stopped()).toEqual([])
        return create(request)
      }
      expect(await work(renewals)).toBe(1)
      // its first message may come before the answer
      expect(early).toMatchObject({ connectionId, providerSubscriptionId: undefined })
      expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-2' })
      expect(await find(secretOf(1))).toMatchObject({ providerSubscriptionId: 'at-provider-2' })
      expect(await find(secretOf(0))).toMatchObject({ providerSubscriptionId: 'at-provider-1' })
      expect(g.google.renewals).toHaveLength(0)
      expect(await work(stops)).toBe(1)
      expect(stopped()).toEqual(['at-provider-1'])
      expect(await work(stops)).toBe(0)
      expect((await g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.renewed')
      await pass(4 * 24 * 60)
      expect(await find(secretOf(0))).toBeUndefined()
      expect(await find(secretOf(1))).toBeDefined()
    })

    test('that could not be made leaves the old one alive, and is tried again with another secret', async () => {
      await pass(4 * 24 * 60)
      const create = g.google.createWith
      g.google.createWith = async () => ({
        kind: 'failed',
        failure: { class: 'transient', code: 'http_503' },
      })
      await work(renewals)
      expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-1' })
      expect(await find(secretOf(0))).toBeDefined()
      await pass(20)
      g.google.createWith = create
      expect(await work(renewals)).toBe(1)
      expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-3' })
      expect(await find(secretOf(1))).toBeUndefined()
    })

    test('that is answered after the lease was lost is stopped', async () => {
      await pass(4 * 24 * 60)
      const create = g.google.createWith
      g.google.createWith = async (request) => {
        await g.db.rows(sql`update auth.subscription_renewals set lease_id = gen_random_uuid()`)
        return create(request)
      }
      await work(renewals)
      await work(stops)
      expect(stopped()).toEqual(['at-provider-2'])
      expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-1' })
    })
  })

  describe('a stop', () => {
    const adopt = async (...ids: string[]) => {
      const { id } = await only()
      const orphans = ids.map((providerSubscriptionId) => ({ subscriptionId: id, providerSubscriptionId }))
      return adoptOrphans(g.needs, orphans)
    }

    test('orphans are those that the row does not have; said twice they are stopped once', async () => {
      expect(await adopt('at-provider-1', 'lost', 'lost')).toBe(1)
      expect(await adopt('lost')).toBe(0)
      expect(await work(stops)).toBe(1)
      expect(stopped()).toEqual(['lost'])
    })

    test('nothing is an orphan while its own create call may be on the way, or its connection ends', async () => {
      await g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
      expect(await adopt('lost')).toBe(0)
      await g.db.rows(sql`update auth.subscriptions set state = 'active'`)
      await g.db.rows(sql`update auth.oauth_tokens set status = 'revoking'`)
      expect(await adopt('lost')).toBe(0)
    })

    test('a create call that is repeated first ends what the earlier one may have made', async () => {
      const { id } = await only()
      await g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
      await g.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock(), attempts = 1`)
      const order: string[] = []
      g.google.listWith = async () => ({
        kind: 'listed',
        items: [
          {
            providerSubscriptionId: 'lost',
            notificationUrl: `${WEBHOOKS}/webhook/events/google/${g.channelKeys.mintRef(id as never)}`,
          },
          { providerSubscriptionId: 'other', notificationUrl: `${WEBHOOKS}/webhook/events/google/x` },
        ],
      })
      g.google.stopWith = async () => {
        order.push('stop')
        return { kind: 'stopped' }
      }
      const create = g.google.createWith
      g.google.createWith = async (request) => {
        order.push('create')
        return create(request)
      }
      await work(renewals)
      expect(order).toEqual(['stop', 'create'])
      expect(stopped()).toEqual(['lost'])
      expect(await only()).toMatchObject({ state: 'active' })
    })

    test('is tried again until the provider has answered, and given up where the answer is final', async () => {
      await adopt('lost')
      g.google.stopWith = async () => ({
        kind: 'failed',
        failure: { class: 'throttled', code: 'x', retryAfterSeconds: 300 },
      })
      await work(stops)
      await pass(4)
      expect(await work(stops)).toBe(0)
      await pass(2)
      g.google.stopWith = async () => ({ kind: 'failed', failure: { class: 'permanent', code: 'x' } })
      expect(await work(stops)).toBe(1)
      await pass(24 * 60)
      expect(await work(stops)).toBe(0)
      expect(stopped()).toHaveLength(2)
    })

    test('without a token for the moment it is tried again soon; without a person, each hour', async () => {
      await adopt('lost')
      unavailable = true
      await work(stops)
      await pass(1)
      unavailable = false
      expect(await work(stops)).toBe(1)
      expect(stopped()).toEqual(['lost'])
    })

    test('what the account shares is not stopped while anybody watches it', async () => {
      g.google.sharedByAccount = true
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
      const { id } = await only()
      await chooseSubscription(g.needs, viewer(), id, { enabled: false })
      await chooseSubscription(g.needs, viewer(), id, { enabled: true })
      expect(await work(stops)).toBe(1)
      expect(stopped()).toEqual([])
      g.google.sharedByAccount = false
    })

    test('a provider that is switched off for a while loses nothing', async () => {
      const grantedScopes = ['openid']
      await g.db.transaction((tx) =>
        g.subscriptions.subscribe(tx, { id: connectionId, provider: 'unknown', grantedScopes, fresh: false }),
      )
      expect(await only()).toMatchObject({ state: 'active' })
    })

    test('reconciling makes nothing due that waits for its next try', async () => {
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
      await g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
      await reconcile(g.needs)
      expect(await work(renewals)).toBe(0)
      await g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
      await reconcile(g.needs)
      expect(await work(renewals)).toBe(1)
    })

    test('a start reconciles although another process is at it: that one may know an older setting', async () => {
      await g.db.rows(sql`
        insert into auth.chores (id, due_at, lease_until, lease_id)
        values ('reconcile-subscriptions', auth.clock(), auth.clock() + interval '1 minute', gen_random_uuid())`)
      await reconcileNow(g.db)
      const due = sql`select 1 from auth.chores where due_at <= auth.clock() and lease_until is null and lease_id is null`
      expect(await g.db.rows(due)).toHaveLength(1)
      await g.db.rows(sql`delete from auth.chores`)
    })

    test('a scope that is gone ends its subscription at the provider too', async () => {
      const grantedScopes = ['openid']
      await g.db.transaction((tx) =>
        g.subscriptions.subscribe(tx, { id: connectionId, provider: 'google', grantedScopes, fresh: false }),
      )
      expect(await only()).toMatchObject({ state: 'stopped' })
      expect(await work(stops)).toBe(1)
      expect(stopped()).toEqual(['at-provider-1'])
    })
  })

  describe('a check', () => {
    test('comes at once and then every ten to fifteen minutes, from where the last one stood', async () => {
      expect(await work(checks)).toBe(1)
      expect(await work(checks)).toBe(0)
      await pass(12)
      expect(await work(checks)).toBe(0)
      await pass(1)
      expect(await work(checks)).toBe(1)
      expect(g.google.checks.map(({ cursor }) => cursor)).toEqual([undefined, 'c1'])
    })

    test('a change that was pushed is well; one that was not is missed after the provider’s own delay', async () => {
      await work(checks)
      await pass(13)
      changed('c2')
      await notified()
      await work(checks)
      expect(await gaps()).toEqual([])
      await pass(13)
      changed('c3')
      expect(await work(checks)).toBe(1)
      expect(await gaps()).toEqual([])
      // three minutes later, from the same place
      await pass(2)
      expect(await work(checks)).toBe(0)
      await pass(2)
      expect(await work(checks)).toBe(1)
      expect(g.google.checks.map(({ cursor }) => cursor)).toEqual([undefined, 'c1', 'c2', 'c2'])
      expect(await gaps()).toEqual([{ reason: 'missed', minutes: 17 }])
      expect((await g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.missed')
      const [view] = (await g.subscriptions.viewsOf(g.db, [connectionId])).get(connectionId) ?? []
      expect(view).toMatchObject({ missed: 1, missed_at: expect.any(String), enabled: true })
      // silent although it lives: ended and made anew
      expect(await work(renewals)).toBe(1)
      expect(g.google.renewals).toHaveLength(0)
      expect(stopped()).toEqual(['at-provider-1'])
      await work(renewals)
      expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-2', silent: false })
    })

    test('a silent one whose end is refused stays until it is ended: two at once would send everything twice', async () => {
      await g.db.rows(sql`update auth.subscriptions set silent_since = auth.clock()`)
      await g.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock()`)
      g.google.stopWith = async () => ({ kind: 'failed', failure: { class: 'throttled', code: 'http_429' } })
      await work(renewals)
      expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-1' })
      g.google.stopWith = async () => ({ kind: 'stopped' })
      await pass(20)
      await work(renewals)
      await work(renewals)
      expect(stopped()).toEqual(['at-provider-1', 'at-provider-1'])
      expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-2', silent: false })
    })

    test('a push that comes within the delay clears the suspicion', async () => {
      await work(checks)
      await pass(13)
      changed('c2')
      await work(checks)
      await notified()
      await pass(4)
      await work(checks)
      expect(await gaps()).toEqual([])
    })

    test('for silence it is replaced once a day; each gap is written down all the same', async () => {
      await work(checks)
      const miss = async (cursor: string) => {
        await pass(20)
        changed(cursor)
        await work(checks)
        await pass(5)
        await work(checks)
        await work(renewals)
        // counted anew by the one that was made
        await work(renewals)
        g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor })
        await work(checks)
      }
      await miss('c2')
      await miss('c3')
      expect(g.google.creates).toHaveLength(2)
      expect((await gaps()).filter(({ reason }) => reason === 'missed')).toHaveLength(2)
      await pass(24 * 60)
      await work(checks)
      await miss('c4')
      expect(g.google.creates).toHaveLength(3)
    })

    test('a check that fails counts from the same place later, and says nothing of the subscription', async () => {
      await work(checks)
      await pass(13)
      g.google.checkWith = async () => ({ kind: 'failed', failure: { class: 'transient', code: 'http_503' } })
      await work(checks)
      await pass(15)
      changed('c2')
      expect(await work(checks)).toBe(1)
      expect(g.google.checks.at(-1)?.cursor).toBe('c1')
      expect(await only()).toMatchObject({ state: 'active' })
    })

    test('from where it can no longer count, a gap is written down and told; nothing is replaced for that', async () => {
      await work(checks)
      await pass(13)
      g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor: 'c9', lost: true })
      await work(checks)
      expect(await gaps()).toEqual([{ reason: 'missed', minutes: 13 }])
      expect((await g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.missed')
      expect(await work(renewals)).toBe(0)
      expect(await only()).toMatchObject({ state: 'active', silent: false })
      await pass(16)
      await work(checks)
      expect(g.google.checks.at(-1)?.cursor).toBe('c9')
    })

    test('without a token for the moment it asks again soon, not after a whole interval', async () => {
      await work(checks)
      await pass(13)
      unavailable = true
      await work(checks)
      unavailable = false
      expect(g.google.checks).toHaveLength(1)
      await pass(1)
      expect(await work(checks)).toBe(1)
      expect(g.google.checks).toHaveLength(2)
    })

    test('what is not live is not asked about', async () => {
      await g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
      expect(await work(checks)).toBe(1)
      expect(g.google.checks).toHaveLength(0)
      await pass(60)
      expect(await work(checks)).toBe(0)
    })

    test('its own interval goes before the setting', async () => {
      await work(checks)
      const { id } = await only()
      expect(await chooseSubscription(g.needs, viewer(), id, { checkMinutes: 60 })).toBe('ok')
      await pass(13)
      await work(checks)
      await pass(60)
      expect(await work(checks)).toBe(0)
      await pass(16)
      expect(await work(checks)).toBe(1)
    })

    test('finds what lives at the provider with our address and belongs to nobody', async () => {
      const { id } = await only()
      const place = `${WEBHOOKS}/webhook/events/google`
      const ref = g.channelKeys.mintRef(id as never)
      const listed = (providerSubscriptionId: string, notificationUrl: string) => ({
        providerSubscriptionId,
        notificationUrl,
      })
      let lists = 0
      g.google.listWith = async () => {
        lists += 1
        return {
          kind: 'listed',
          items: [
            listed('at-provider-1', `${place}/${ref}`),
            listed('lost', `${place}/${ref}`),
            listed('forged', `${place}/${ref.slice(0, -1)}`),
            listed('elsewhere', `https://other.example/webhook/events/google/${ref}`),
          ],
        }
      }
      await work(checks)
      await work(stops)
      expect(stopped()).toEqual(['lost'])
      await pass(13)
      await work(checks)
      expect(lists).toBe(1)
    })
  })

  describe('what is found by asking', () => {
    const one = (name: string): WantedSubscription => ({ kind: `mail:${name}`, resource: `of/${name}` })
    const find = (...names: string[]) => {
      g.google.discoverWith = async ({ resource }) => ({
        kind: 'found',
        wanted: resource === LIST.resource ? names.map(one) : [],
      })
    }
    const kinds = async () => (await subscriptions()).map(({ kind, state }) => `${kind} ${state}`)

    test('is watched, and ends when it is not found any more', async () => {
      find('a', 'b')
      await work(checks)
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a active', 'mail:b active'])
      find('b', 'c')
      await pass(13)
      changed('c2')
      await notified()
      await work(checks)
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a stopped', 'mail:b active', 'mail:c active'])
      await work(stops)
      expect(stopped()).toEqual(['at-provider-2'])
    })

    test('what could not be asked for is asked for again, although nothing changes any more', async () => {
      g.google.discoverWith = async () => ({
        kind: 'failed',
        failure: { class: 'transient', code: 'http_503' },
      })
      await work(checks)
      expect(await kinds()).toEqual(['mail active'])
      find('a')
      await pass(2)
      expect(await work(checks)).toBe(1)
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a active'])
    })

    test('where asking is refused for good, the check goes on without it', async () => {
      g.google.discoverWith = async () => ({ kind: 'failed', failure: { class: 'needs_user', code: 'x' } })
      await work(checks)
      expect(await g.db.rows(sql`select cursor, attempts from auth.subscription_checks`)).toEqual([
        { cursor: 'c1', attempts: 0 },
      ])
    })

    test('one that failed for good is wanted again by the reconciler: what stood in its way may be gone', async () => {
      find('a')
      await work(checks)
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
      const create = g.google.createWith
      g.google.createWith = async () => ({
        kind: 'failed',
        failure: { class: 'our_configuration', code: 'x' },
      })
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a failed'])
      g.google.createWith = create
      await reconcile(g.needs)
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a active'])
    })

    test('goes with what it was found by, and stays when everything is reconciled', async () => {
      find('a')
      await work(checks)
      await work(renewals)
      const made = g.google.creates.length
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
      await reconcile(g.needs)
      await work(renewals)
      expect(await kinds()).toEqual(['mail active', 'mail:a active'])
      expect(g.google.creates).toHaveLength(made)
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid'`)
      await reconcile(g.needs)
      expect(await kinds()).toEqual(['mail stopped', 'mail:a stopped'])
    })
  })

  describe('a choice', () => {
    test('off: stopped here and there, and not wanted again by a reconnect or the reconciler; on: made anew', async () => {
      await g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
      const { id } = await only()
      expect(await chooseSubscription(g.needs, viewer(), id, { enabled: false })).toBe('ok')
      expect(await only()).toMatchObject({ state: 'stopped' })
      await work(stops)
      expect(stopped()).toEqual(['at-provider-1'])
      await reconcile(g.needs)
      expect(await only()).toMatchObject({ state: 'stopped' })
      const [view] = (await g.subscriptions.viewsOf(g.db, [connectionId])).get(connectionId) ?? []
      expect(view?.enabled).toBe(false)
      expect(await chooseSubscription(g.needs, viewer(), id, { enabled: true })).toBe('ok')
      expect(await work(renewals)).toBe(1)
      expect((await subscriptions()).map(({ state }) => state).sort()).toEqual(['active', 'stopped'])
    })

    test('IA-05 another person’s does not exist; an admin’s word counts for all', async () => {
      const { id } = await only()
      const other = { userId: await g.user('eve@example.com'), role: 'user' }
      expect(await chooseSubscription(g.needs, other, id, { enabled: false })).toBe('not_found')
      expect(await renewNow(g.needs, other, id)).toBe('not_found')
      expect(await only()).toMatchObject({ state: 'active' })
      expect(await renewNow(g.needs, { ...other, role: 'admin' }, id)).toBe('ok')
    })

    test('renew now: not within ten minutes of the last renewal, and only what lives', async () => {
      const { id } = await only()
      expect(await renewNow(g.needs, viewer(), id)).toBe('ok')
      expect(await work(renewals)).toBe(0)
      await pass(10)
      expect(await work(renewals)).toBe(1)
      expect(g.google.renewals).toHaveLength(1)
      await g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
      expect(await renewNow(g.needs, viewer(), id)).toBe('not_live')
    })

    test('while the connection ends nothing is chosen', async () => {
      const { id } = await only()
      await g.db.rows(sql`update auth.oauth_tokens set status = 'revoking'`)
      expect(await chooseSubscription(g.needs, viewer(), id, { enabled: false })).toBe('busy')
    })
  })

  test('what is not as it should be is counted by why, for living connections', async () => {
    expect(await countUnwell(g.db)).toEqual([])
    await g.db.rows(sql`update auth.subscriptions set renewal_failure_code = 'http_503'`)
    await g.db.rows(sql`update auth.subscription_checks set missed_at = auth.clock()`)
    await pass(6.5 * 24 * 60)
    await g.db.rows(sql`update auth.subscription_checks set missed_at = auth.clock() - interval '2 hours'`)
    const counted = async () =>
      Object.fromEntries((await countUnwell(g.db)).map(({ reason, count }) => [reason, count]))
    expect(await counted()).toEqual({ failing: 1, expiring: 1, silent: 1 })
    await g.db.rows(
      sql`update auth.subscriptions set state = 'wanted', updated_at = auth.clock() - interval '11 minutes'`,
    )
    expect(await counted()).toEqual({ waiting: 1 })
    await g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
    expect(await counted()).toEqual({ failed: 1 })
    await g.db.rows(sql`update auth.oauth_tokens set status = 'revoked'`)
    expect(await counted()).toEqual({})
  })

  test('judging and timing are pure', () => {
    const at = (minutes: number) => new Date(1_800_000_000_000 + minutes * 60_000)
    const facts = {
      now: at(20),
      checkedAt: at(0),
      suspectedAt: null,
      lastNotificationAt: null,
      changed: true,
      pushDelayMs: 180_000,
      newestAt: undefined,
    }
    expect(judgeCheck({ ...facts, checkedAt: null }).kind).toBe('well')
    expect(judgeCheck({ ...facts, changed: false }).kind).toBe('well')
    expect(judgeCheck({ ...facts, changed: false, lost: true })).toEqual({ kind: 'unknown', from: at(0) })
    expect(judgeCheck({ ...facts, checkedAt: null, lost: true }).kind).toBe('well')
    expect(judgeCheck({ ...facts, lastNotificationAt: at(1) }).kind).toBe('well')
    expect(judgeCheck(facts)).toEqual({ kind: 'suspected', since: at(20), inSeconds: 180 })
    expect(judgeCheck({ ...facts, lastNotificationAt: at(-1), suspectedAt: at(18) })).toMatchObject({
      inSeconds: 60,
    })
    expect(judgeCheck({ ...facts, suspectedAt: at(17) })).toEqual({ kind: 'missed', from: at(0) })
    // where the provider tells the time of a change, pushes of earlier ones do not hide that its own is missing
    const told = { ...facts, newestAt: at(10), lastNotificationAt: at(5) }
    expect(judgeCheck(told)).toEqual({ kind: 'missed', from: at(0) })
    expect(judgeCheck({ ...told, lastNotificationAt: at(9.6) }).kind).toBe('well')
    expect(judgeCheck({ ...told, newestAt: at(18) })).toMatchObject({ kind: 'suspected', inSeconds: 60 })
    // a change that claims to be older than the last check tells no time: judged as if none were told
    const imported = { ...facts, newestAt: at(-9_000) }
    expect(judgeCheck(imported)).toEqual({ kind: 'suspected', since: at(20), inSeconds: 180 })
    expect(judgeCheck({ ...imported, lastNotificationAt: at(1) }).kind).toBe('well')
    // the note of a notification may come a minute late, however quick the provider
    expect(judgeCheck({ ...facts, pushDelayMs: 0, suspectedAt: at(19) })).toMatchObject({ kind: 'suspected' })
    expect([0, 0.5, 0.999].map((random) => Math.round(checkInSeconds(600, random) / 60))).toEqual([
      10, 13, 15,
    ])
  })
})
