/** Subscriptions kept alive: the whole system of real processes and simulated providers, on clocks that are moved together. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type MovedStack, openMovedStack, waitFor } from '../src/moved-stack.ts'

const DAY_MS = 24 * 3600_000

describe('subscriptions over weeks', () => {
  let world: MovedStack
  beforeAll(async () => {
    world = await openMovedStack({ MICROSOFT_WATCH: 'mail', GOOGLE_WATCH: 'mail' })
  })
  afterAll(() => world?.close())

  interface Row {
    provider: string
    state: string
    left_days: number
    renewals: number
    provider_subscription_id: string | null
  }
  const read = async () =>
    (
      await world.db.query<Row>(
        `select s.provider, s.state, extract(epoch from s.expires_at - auth.clock())::float8 / 86400 as left_days, s.provider_subscription_id,
                (select count(*)::int from auth.events e where e.type like '%subscription.v1.renewed' and e.connection_id = s.connection_id) as renewals
           from auth.subscriptions s where s.kind = 'mail' order by s.provider`,
      )
    ).rows
  test('both live on for three weeks: renewed again and again, never lost, and pushes still arrive', async () => {
    await waitFor(
      'both are active',
      read,
      (rows) => rows.length === 2 && rows.every(({ state }) => state === 'active'),
    )
    const before = await read()
    for (let week = 1; week <= 6; week += 1) {
      await world.advance(3.6 * DAY_MS)
      await waitFor(`renewed ${week} times`, read, (rows) =>
        rows.every(({ renewals, left_days }) => renewals >= week && left_days > 3.5),
      )
    }
    const after = await read()
    expect(after.map((row) => row.provider_subscription_id)).toEqual(
      before.map((row) => row.provider_subscription_id),
    )
    expect((await world.db.query('select 1 from auth.subscription_gaps')).rows).toEqual([])
    await world.control('/message', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      subject: 'after three weeks',
    })
    for (const end = Date.now() + 15_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
      const { rows } = await world.db.query(
        `select 1 from auth.events where type like '%mail.mailbox.v1.notified' and provider = 'microsoft'`,
      )
      if (rows.length > 0) return
    }
    throw new Error('the push after three weeks did not arrive')
  }, 180_000)

  test('one that Graph removed is made anew, and the gap is known', async () => {
    const [, before] = await read()
    await world.control('/lifecycle', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      event: 'subscriptionRemoved',
    })
    await waitFor('a new one is active', read, (rows) => {
      const now = rows.find(({ provider }) => provider === 'microsoft')
      return now?.state === 'active' && now.provider_subscription_id !== before?.provider_subscription_id
    })
    const { rows } = await world.db.query<{ reason: string; closed: boolean }>(
      `select g.reason, g.to_at is not null as closed from auth.subscription_gaps g join auth.subscriptions s on s.id = g.subscription_id
        where s.kind = 'mail'`,
    )
    expect(rows).toEqual([{ reason: 'removed', closed: true }])
  }, 60_000)

  test('one that Graph wants to have authorised again is renewed once, and not within ten minutes of its last renewal', async () => {
    const lifecycle = (event: string) =>
      world.control('/lifecycle', { provider: 'microsoft', account: 'adele@contoso.test', event })
    const atGraph = async () =>
      (
        (await world.control('/state')) as unknown as {
          microsoft: { subscriptions: { renewedAt: number | null }[]; reauthorizeConflicts: number }
        }
      ).microsoft
    const renewedAt = async () => (await atGraph()).subscriptions[0]?.renewedAt ?? 0
    await world.advance(3_600_000)
    const before = await renewedAt()
    await lifecycle('reauthorizationRequired')
    const first = await waitFor('it is renewed', renewedAt, (at) => at > before)
    await lifecycle('reauthorizationRequired')
    await world.advance(5 * 60_000)
    await lifecycle('reauthorizationRequired')
    expect(await renewedAt()).toBe(first)
    await world.advance(5 * 60_000 + 1_000)
    const second = await waitFor('it is renewed again', renewedAt, (at) => at > first)
    expect(second - first).toBeGreaterThanOrEqual(600_000)
    expect((await atGraph()).reauthorizeConflicts).toBe(0)
  }, 60_000)

  test('what Graph missed is written down, and the subscription stays', async () => {
    const [, before] = await read()
    await world.control('/lifecycle', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      event: 'missed',
    })
    const missed = async () =>
      (
        await world.db.query(
          `select 1 from auth.subscription_gaps where reason = 'missed' and to_at is not null`,
        )
      ).rowCount
    await waitFor('the gap is written down', missed, (n) => n === 1)
    expect((await read())[1]?.provider_subscription_id).toBe(before?.provider_subscription_id)
    const told = `select 1 from auth.events where type like '%subscription.v1.missed' and provider = 'microsoft'`
    expect((await world.db.query(told)).rows).toHaveLength(1)
  }, 60_000)
})
