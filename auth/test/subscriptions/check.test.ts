/** Silence is measured: what was not pushed is found, written down and told. */
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { checkInSeconds, judgeCheck } from '../../src/subscriptions/check-schedule.ts'
import { chooseSubscription } from '../../src/subscriptions/choices.ts'
import { WEBHOOKS } from '../connections/ground.ts'
import { keeping } from './keeping.ts'

describe('WI-16 a check', () => {
  const k = keeping()
  const { pass, work, only, stopped, gaps, notified, changed, viewer } = k

  test('comes at once and then every ten to fifteen minutes, from where the last one stood', async () => {
    expect(await work('checks')).toBe(1)
    expect(await work('checks')).toBe(0)
    await pass(12)
    expect(await work('checks')).toBe(0)
    await pass(1)
    expect(await work('checks')).toBe(1)
    expect(k.g.google.checks.map(({ cursor }) => cursor)).toEqual([undefined, 'c1'])
  })

  test('a change that was pushed is well; one that was not is missed after the provider’s own delay', async () => {
    await work('checks')
    await pass(13)
    changed('c2')
    await notified()
    await work('checks')
    expect(await gaps()).toEqual([])
    await pass(13)
    changed('c3')
    expect(await work('checks')).toBe(1)
    expect(await gaps()).toEqual([])
    // three minutes later, from the same place
    await pass(2)
    expect(await work('checks')).toBe(0)
    await pass(2)
    expect(await work('checks')).toBe(1)
    expect(k.g.google.checks.map(({ cursor }) => cursor)).toEqual([undefined, 'c1', 'c2', 'c2'])
    expect(await gaps()).toEqual([{ reason: 'missed', minutes: 17 }])
    expect((await k.g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.missed')
    const [view] = (await k.g.subscriptions.viewsOf(k.g.db, [k.connectionId])).get(k.connectionId) ?? []
    expect(view).toMatchObject({ missed: 1, missed_at: expect.any(String), enabled: true })
    // silent although it lives: ended and made anew
    expect(await work('renewals')).toBe(1)
    expect(k.g.google.renewals).toHaveLength(0)
    expect(stopped()).toEqual(['at-provider-1'])
    await work('renewals')
    expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-2', silent: false })
  })

  test('a silent one whose end is refused stays until it is ended: two at once would send everything twice', async () => {
    await k.g.db.rows(sql`update auth.subscriptions set silent_since = auth.clock()`)
    await k.g.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock()`)
    k.g.google.stopWith = async () => ({ kind: 'failed', failure: { class: 'throttled', code: 'http_429' } })
    await work('renewals')
    expect(await only()).toMatchObject({ state: 'active', provider_subscription_id: 'at-provider-1' })
    k.g.google.stopWith = async () => ({ kind: 'stopped' })
    await pass(20)
    await work('renewals')
    await work('renewals')
    expect(stopped()).toEqual(['at-provider-1', 'at-provider-1'])
    expect(await only()).toMatchObject({ provider_subscription_id: 'at-provider-2', silent: false })
  })

  test('a push that comes within the delay clears the suspicion', async () => {
    await work('checks')
    await pass(13)
    changed('c2')
    await work('checks')
    await notified()
    await pass(4)
    await work('checks')
    expect(await gaps()).toEqual([])
  })

  test('for silence it is replaced once a day; each gap is written down all the same', async () => {
    await work('checks')
    const miss = async (cursor: string) => {
      await pass(20)
      changed(cursor)
      await work('checks')
      await pass(5)
      await work('checks')
      await work('renewals')
      // counted anew by the one that was made
      await work('renewals')
      k.g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor })
      await work('checks')
    }
    await miss('c2')
    await miss('c3')
    expect(k.g.google.creates).toHaveLength(2)
    expect((await gaps()).filter(({ reason }) => reason === 'missed')).toHaveLength(2)
    await pass(24 * 60)
    await work('checks')
    await miss('c4')
    expect(k.g.google.creates).toHaveLength(3)
  })

  test('a check that fails counts from the same place later, and says nothing of the subscription', async () => {
    await work('checks')
    await pass(13)
    k.g.google.checkWith = async () => ({ kind: 'failed', failure: { class: 'transient', code: 'http_503' } })
    await work('checks')
    await pass(15)
    changed('c2')
    expect(await work('checks')).toBe(1)
    expect(k.g.google.checks.at(-1)?.cursor).toBe('c1')
    expect(await only()).toMatchObject({ state: 'active' })
  })

  test('from where it can no longer count, a gap is written down and told; nothing is replaced for that', async () => {
    await work('checks')
    await pass(13)
    k.g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor: 'c9', lost: true })
    await work('checks')
    expect(await gaps()).toEqual([{ reason: 'missed', minutes: 13 }])
    expect((await k.g.eventTypes()).at(-1)).toBe('ca.flovify.subscription.v1.missed')
    expect(await work('renewals')).toBe(0)
    expect(await only()).toMatchObject({ state: 'active', silent: false })
    await pass(16)
    await work('checks')
    expect(k.g.google.checks.at(-1)?.cursor).toBe('c9')
  })

  test('without a token for the moment it asks again soon, not after a whole interval', async () => {
    await work('checks')
    await pass(13)
    k.unavailable = true
    await work('checks')
    k.unavailable = false
    expect(k.g.google.checks).toHaveLength(1)
    await pass(1)
    expect(await work('checks')).toBe(1)
    expect(k.g.google.checks).toHaveLength(2)
  })

  test('what is not live is not asked about', async () => {
    await k.g.db.rows(sql`update auth.subscriptions set state = 'wanted'`)
    expect(await work('checks')).toBe(1)
    expect(k.g.google.checks).toHaveLength(0)
    await pass(60)
    expect(await work('checks')).toBe(0)
  })

  test('its own interval goes before the setting', async () => {
    await work('checks')
    const { id } = await only()
    expect(await chooseSubscription(k.g.needs, viewer(), id, { checkMinutes: 60 })).toBe('ok')
    await pass(13)
    await work('checks')
    await pass(60)
    expect(await work('checks')).toBe(0)
    await pass(16)
    expect(await work('checks')).toBe(1)
  })

  test('finds what lives at the provider with our address and belongs to nobody', async () => {
    const { id } = await only()
    const place = `${WEBHOOKS}/webhook/events/google`
    const ref = k.g.channelKeys.mintRef(id as never)
    const listed = (providerSubscriptionId: string, notificationUrl: string) => ({
      providerSubscriptionId,
      notificationUrl,
    })
    let lists = 0
    k.g.google.listWith = async () => {
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
    await work('checks')
    await work('stops')
    expect(stopped()).toEqual(['lost'])
    await pass(13)
    await work('checks')
    expect(lists).toBe(1)
  })
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
  expect([0, 0.5, 0.999].map((random) => Math.round(checkInSeconds(600, random) / 60))).toEqual([10, 13, 15])
})
