import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import {
  askedWithinMs,
  isExpiring,
  renewAgainInSeconds,
  renewInSeconds,
} from '../../src/subscriptions/renewal-schedule.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { connectAlice } from '../connections/connected.ts'
import { type Ground, openGround } from '../connections/ground.ts'

const DAY_MS = 24 * 3600_000

describe('renewing subscriptions', () => {
  let g: Ground
  let kind: WorkKind<DueRow>
  let leases = 0
  let dead = false
  const asked: number[] = []
  beforeAll(async () => {
    g = await openGround()
    kind = subscriptionRenewals({
      ...g.needs,
      accessToken: async (id, seconds) => {
        asked.push(seconds)
        if (dead) return { kind: 'unusable', status: 'reauth_required' }
        const read = await accessToken(g.needs, id, seconds)
        return read.kind === 'token'
          ? { ...read, expiresAt: new Date((await now()).getTime() + 3_600_000) }
          : read
      },
      channelKeys: g.channelKeys,
      lookup: g.lookup,
      random: () => 0.5,
    })
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    dead = false
    await g.clear()
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: `at-provider-${g.google.creates.length}`,
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    g.google.renewWith = async () => ({
      kind: 'renewed',
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    await connectAlice(g)
    await work()
  })

  const now = async () => (await g.db.one<{ now: Date }>(sql`select auth.clock() as now`))?.now ?? new Date()
  const goTo = (days: number) =>
    g.db.rows(sql`
      with moved as (update auth.clock_offset set offset_ms = ${days * DAY_MS} returning 1)
      select auth.ensure_days((now() at time zone 'UTC')::date + ${Math.floor(days)}::int - 1, (now() at time zone 'UTC')::date + ${Math.floor(days)}::int + 2) from moved`)
  const work = async () => {
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    const rows = await kind.claim(g.db, { id, seconds: 30, limit: 10 })
    for (const row of rows) await kind.run(row, new AbortController().signal)
    return rows.length
  }
  const read = () =>
    g.db.one<{
      state: string
      provider_subscription_id: string | null
      renewal_failure_code: string | null
      due_in_days: number
      left_days: number
      attempts: number
    }>(sql`
      select s.state, s.provider_subscription_id, s.renewal_failure_code, r.attempts,
             round((extract(epoch from r.due_at - auth.clock()) / 86400)::numeric, 2)::float8 as due_in_days,
             round((extract(epoch from s.expires_at - auth.clock()) / 86400)::numeric, 1)::float8 as left_days
        from auth.subscriptions s join auth.subscription_renewals r on r.id = s.id`)
  const events = async () =>
    (
      await g.db.rows<{ type: string }>(
        sql`select type from auth.events where type like '%subscription%' order by recorded_at, seq`,
      )
    ).map(({ type }) => type.replace('ca.flovify.subscription.v1.', ''))
  const gaps = () =>
    g.db.rows<{ reason: string; closed: boolean }>(
      sql`select reason, to_at is not null as closed from auth.subscription_gaps order by id`,
    )

  test('a created one is due again at about half of its life', async () => {
    expect(await read()).toMatchObject({ state: 'active', due_in_days: 3.15, left_days: 7 })
  })

  test('WI-16 where pushes wait for the token, it is renewed within the hour, with a token that lives long enough', async () => {
    expect(asked.at(-1)).toBe(60)
    g.google.pausesWithToken = true
    await goTo(3.2)
    await work()
    expect(asked.at(-1)).toBe(1_800)
    // half an hour or more after the token was made, and before it ends
    expect(await read()).toMatchObject({ state: 'active', due_in_days: 0.03, left_days: 7 })
  })

  test('it is renewed, keeps its id and its secret, and is due again', async () => {
    await goTo(3.2)
    expect(await work()).toBe(1)
    expect(g.google.creates).toHaveLength(1)
    expect(g.google.renewals).toHaveLength(1)
    expect(g.google.renewals[0]).toMatchObject({
      providerSubscriptionId: 'at-provider-1',
      resource: 'me/messages',
    })
    expect(Number(g.google.renewals[0]?.grantedLifeMs)).toBeCloseTo(7 * DAY_MS, -5)
    expect(await read()).toMatchObject({ state: 'active', due_in_days: 3.15, left_days: 7, attempts: 0 })
    expect(await events()).toEqual(['created', 'renewed'])
  })

  test('one that the provider does not know any more is created anew; the gap is written down and closed', async () => {
    g.google.renewWith = async () => ({ kind: 'gone' })
    await goTo(3.2)
    await work()
    expect(await read()).toMatchObject({ state: 'wanted' })
    expect(await gaps()).toEqual([{ reason: 'removed', closed: false }])
    expect(await work()).toBe(1)
    expect(await read()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-2' })
    expect(await gaps()).toEqual([{ reason: 'removed', closed: true }])
    expect(await events()).toEqual(['created', 'removed', 'created'])
  })

  test('a throttled renewal comes again when the provider asks, told once for each cause', async () => {
    g.google.renewWith = async () => ({
      kind: 'failed',
      failure: { class: 'throttled', code: 'slow_down', retryAfterSeconds: 7200 },
    })
    await goTo(3.2)
    await work()
    expect(await read()).toMatchObject({
      state: 'active',
      renewal_failure_code: 'slow_down',
      attempts: 1,
      due_in_days: 0.08,
    })
    await goTo(3.3)
    await work()
    expect(await events()).toEqual(['created', 'renewal_failed'])
    g.google.renewWith = async () => ({
      kind: 'renewed',
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    await goTo(3.5)
    await work()
    expect(await read()).toMatchObject({ renewal_failure_code: null, attempts: 0 })
  })

  test('one that cannot be renewed is told to be expiring, then to have expired, and is made anew as soon as it can be', async () => {
    dead = true
    await goTo(3.2)
    await work()
    expect(await read()).toMatchObject({
      state: 'active',
      renewal_failure_code: 'connection_reauth_required',
    })
    await goTo(6)
    await work()
    await goTo(6.5)
    await work()
    expect(await events()).toEqual(['created', 'renewal_failed', 'expiring'])
    await goTo(7.1)
    await work()
    expect(await events()).toEqual(['created', 'renewal_failed', 'expiring', 'expired'])
    expect(await gaps()).toEqual([{ reason: 'expired', closed: false }])
    dead = false
    await work()
    expect(await read()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-2' })
    expect(await gaps()).toEqual([{ reason: 'expired', closed: true }])
  })

  test('one that waits for a person is renewed as soon as there is a new grant, one that is well is not', async () => {
    const connection = await g.db.one<{ id: string }>(sql`select id from auth.oauth_tokens`)
    const reconnect = () =>
      g.db.transaction((tx) =>
        g.subscriptions.subscribe(tx, {
          id: connection?.id ?? '',
          provider: 'google',
          grantedScopes: ['openid', 'mail.read'],
          fresh: true,
        }),
      )
    const endsWithGrant = g.google.endsWithGrant
    g.google.endsWithGrant = false
    await goTo(1)
    await reconnect()
    expect((await read())?.due_in_days).toBeCloseTo(2.15, 1)
    await goTo(3.2)
    dead = true
    await work()
    expect((await read())?.due_in_days).toBe(0.04)
    dead = false
    await reconnect()
    expect((await read())?.due_in_days).toBe(0)
    expect(await work()).toBe(1)
    expect(await read()).toMatchObject({
      provider_subscription_id: 'at-provider-1',
      renewal_failure_code: null,
    })
    g.google.endsWithGrant = endsWithGrant
  })

  test('a person sees when it is renewed, what failed, and the gaps of thirty days', async () => {
    const view = async () => {
      const row = await g.db.one<{ id: string }>(sql`select connection_id as id from auth.subscriptions`)
      return (await g.subscriptions.viewsOf(g.db, [row?.id ?? ''])).get(row?.id ?? '')?.[0]
    }
    expect(await view()).toMatchObject({ renewal_failure_code: null, gaps: [] })
    expect(Date.parse((await view())?.renews_at ?? '')).toBeGreaterThan(Date.now() + 3 * DAY_MS)
    g.google.renewWith = async () => ({ kind: 'gone' })
    await goTo(3.2)
    await work()
    expect(await view()).toMatchObject({
      state: 'wanted',
      renews_at: null,
      gaps: [{ reason: 'removed', from: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/), to: null }],
    })
    await goTo(40)
    expect((await view())?.gaps).toEqual([])
  })

  test('OA-13 what is stopped is not renewed', async () => {
    await g.db.rows(sql`update auth.subscriptions set state = 'stopped'`)
    await goTo(3.2)
    await work()
    expect(g.google.renewals).toHaveLength(0)
    expect((await read())?.due_in_days).toBeNull()
  })

  test('one whose secret is of a key that goes out of use is replaced, not renewed', async () => {
    await g.db.rows(sql`update auth.subscriptions set channel_key_id = 'k-old'`)
    await goTo(3.2)
    await work()
    expect(g.google.stopped).toMatchObject([{ providerSubscriptionId: 'at-provider-1' }])
    await work()
    expect(g.google.renewals).toHaveLength(0)
    expect(await read()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-2' })
    expect(await gaps()).toEqual([{ reason: 'replaced', closed: true }])
  })

  test('a lost lease settles nothing', async () => {
    await goTo(3.2)
    g.google.renewWith = async () => {
      await g.db.rows(sql`update auth.subscription_renewals set lease_id = gen_random_uuid()`)
      return { kind: 'gone' }
    }
    await work()
    expect(await read()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-1' })
    expect(await gaps()).toEqual([])
  })
})

describe('the schedule of renewals', () => {
  test.each([
    [7 * 86_400, undefined, 0, 0.8 * 3.5 * 86_400],
    [7 * 86_400, undefined, 1, 3.5 * 86_400],
    [7 * 86_400, DAY_MS, 1, 86_400],
    [3_600, DAY_MS, 1, 1_800],
    [30, undefined, 0, 60],
  ])('a life of %d s, asked within %s ms, chance %d: %d s', (life, within, random, seconds) => {
    expect(renewInSeconds(life, within, random)).toBeCloseTo(seconds, 5)
  })

  test('an expiry is never slept through, whatever the failure', () => {
    for (const failure of [
      { class: 'throttled', code: 'x', retryAfterSeconds: 50_000 },
      { class: 'permanent', code: 'x' },
      { class: 'needs_user', code: 'x' },
    ] as const)
      expect(renewAgainInSeconds(failure, 1, 100, 0.5)).toBeLessThanOrEqual(100)
    expect(renewAgainInSeconds({ class: 'permanent', code: 'x' }, 1, 100_000, 0.5)).toBe(3_600)
  })

  test('the last quarter of a life is worth an alarm', () => {
    expect([isExpiring(24, 100), isExpiring(26, 100), isExpiring(1, null)]).toEqual([true, false, false])
  })
})

describe('before the access token expires', () => {
  const now = new Date('2026-11-24T10:00:00Z')
  const inMinutes = (minutes: number) => new Date(now.getTime() + minutes * 60_000)

  test('WI-16 where pushes wait for the token, it is renewed five minutes before that or sooner; else the token is no matter', () => {
    expect(askedWithinMs({ pausesWithToken: true }, 'x', inMinutes(60), now)).toBe(55 * 60_000)
    expect(askedWithinMs({ pausesWithToken: false }, 'x', inMinutes(60), now)).toBeUndefined()
    expect(
      askedWithinMs({ pausesWithToken: true, renewWithinMs: () => 1_800_000 }, 'x', inMinutes(60), now),
    ).toBe(1_800_000)
    expect(askedWithinMs({ renewWithinMs: () => 7 }, 'x', inMinutes(60), now)).toBe(7)
  })

  test('never twice within ten minutes, however short the token lives', () => {
    for (const random of [0, 0.5, 0.999])
      expect(
        renewInSeconds(86_400, askedWithinMs({ pausesWithToken: true }, 'x', inMinutes(1), now), random),
      ).toBeGreaterThanOrEqual(600)
  })
})
