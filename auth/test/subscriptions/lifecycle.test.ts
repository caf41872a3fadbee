import type { Fact } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { heedLifecycle } from '../../src/subscriptions/lifecycle.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

const CONNECTION = newId('con')

describe('what a provider says about a subscription', () => {
  let t: TestDatabase
  let id: string
  const nudged: string[] = []
  beforeAll(async () => {
    t = await testDatabase()
    await t.db.rows(sql`insert into auth.users (email, name) values ('a@example.com', 'A')`)
    await t.db.rows(sql`
      insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, status)
      select ${CONNECTION}, u.id, u.id::text, 'microsoft', 'k', 'a@example.com', 'active' from auth.users u`)
  })
  afterAll(() => t.close())
  beforeEach(async () => {
    nudged.length = 0
    await t.db.rows(sql`delete from auth.subscriptions`)
    id = newId('sub')
    await t.db.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, expires_at, last_renewed_at)
      values (${id}, ${CONNECTION}, 'microsoft', 'mail', 'me/messages', 'active', 'x', auth.clock() + interval '6 days', auth.clock() - interval '1 day')`)
    await t.db.rows(
      sql`insert into auth.subscription_renewals (id, due_at, attempts) values (${id}, auth.clock() + interval '2 days', 3)`,
    )
  })
  const say = (what: string) =>
    heedLifecycle({ db: t.db, nudge: { nudge: (kind) => nudged.push(kind) } }, [
      { type: `subscription.v1.${what}`, subscriptionId: id } as Fact,
    ])
  const read = () =>
    t.db.one<{ state: string; due_in: number; gaps: number }>(sql`
      select s.state, round(extract(epoch from r.due_at - auth.clock()))::int as due_in,
             (select count(*)::int from auth.subscription_gaps) as gaps
        from auth.subscriptions s join auth.subscription_renewals r on r.id = s.id`)

  test('reauthorizationRequired: renewed at once', async () => {
    await say('reauthorization_required')
    expect(await read()).toEqual({ state: 'active', due_in: 0, gaps: 0 })
    expect(nudged).toEqual(['subscription_renewals'])
  })

  test('reauthorizationRequired: never within ten minutes of a renewal', async () => {
    await t.db.rows(sql`update auth.subscriptions set last_renewed_at = auth.clock() - interval '4 minutes'`)
    await say('reauthorization_required')
    expect((await read())?.due_in).toBe(360)
  })

  test('reauthorizationRequired: one that is said while a renewal is being settled waits for it, and counts from it', async () => {
    let said: Promise<void> | undefined
    await t.db.transaction(async (tx) => {
      await tx.rows(
        sql`update auth.subscription_renewals set due_at = auth.clock() + interval '3 days' where id = ${id}`,
      )
      await tx.rows(sql`update auth.subscriptions set last_renewed_at = auth.clock() where id = ${id}`)
      said = say('reauthorization_required')
      const waiting = () =>
        t.db.rows(sql`
          select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
      await expect.poll(async () => (await waiting()).length, { timeout: 10_000, interval: 10 }).toBe(1)
    })
    await said
    expect((await read())?.due_in).toBeGreaterThan(590)
  })

  test('reauthorizationRequired: a renewal that is due sooner stays', async () => {
    await t.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock() - interval '5 seconds'`)
    await say('reauthorization_required')
    expect((await read())?.due_in).toBe(-5)
  })

  test('subscriptionRemoved: wanted anew at once, with its gap; said twice it is one', async () => {
    await say('removed')
    await say('removed')
    expect(await read()).toEqual({ state: 'wanted', due_in: 0, gaps: 1 })
  })

  test('missed: the gap is written down, the subscription stays', async () => {
    await say('missed')
    expect(await read()).toMatchObject({ state: 'active', gaps: 1 })
    expect(nudged).toEqual([])
  })

  test('about one that is stopped nothing is done', async () => {
    await t.db.rows(sql`update auth.subscriptions set state = 'stopped'`)
    for (const what of ['removed', 'missed', 'reauthorization_required']) await say(what)
    expect(await read()).toMatchObject({ state: 'stopped', gaps: 0 })
    expect((await read())?.due_in).toBeGreaterThan(100_000)
  })
})
