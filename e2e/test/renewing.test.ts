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
})
