import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { type RenewalNeeds, subscriptionRenewals } from '../../src/subscriptions/work.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

const CONNECTION = newId('con')
/** As the worker claims; claiming needs nothing else. */
const claimRenewals = subscriptionRenewals({} as RenewalNeeds).claim

describe('WI-16 which of many due renewals comes first', () => {
  let t: TestDatabase
  let leases = 0
  beforeAll(async () => {
    t = await testDatabase()
    await t.db.rows(sql`insert into auth.users (email, name) values ('a@example.com', 'A')`)
    await t.db.rows(sql`
      insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, status)
      select ${CONNECTION}, u.id, u.id::text, 'microsoft', 'k', 'a@example.com', 'active' from auth.users u`)
  })
  afterAll(() => t.close())
  beforeEach(() => t.db.rows(sql`delete from auth.subscriptions`))

  /** @param dueMinutes since when it is due; negative: not yet */
  const add = async (kind: string, dueMinutes: number, expiresInMinutes: number | null) => {
    const id = newId('sub')
    const state = expiresInMinutes === null ? 'wanted' : 'active'
    await t.db.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, expires_at)
      values (${id}, ${CONNECTION}, 'microsoft', ${kind}, 'x', ${state}, ${state === 'active' ? id : null},
              auth.clock() + make_interval(mins => ${expiresInMinutes}))`)
    await t.db.rows(sql`
      insert into auth.subscription_renewals (id, due_at)
      values (${id}, auth.clock() - make_interval(mins => ${dueMinutes}))`)
    return id
  }
  const claim = async (limit: number) => {
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    const rows = await claimRenewals(t.db, { id, seconds: 30, limit })
    const kinds = await t.db.rows<{ kind: string }>(
      sql`select kind from auth.subscriptions where id = any(${rows.map((row) => row.id)}::text[])`,
    )
    return kinds.map(({ kind }) => kind)
  }

  test('what expires first, whatever was due first; what is to be made before all that lives for longer than an hour', async () => {
    await add('due for long', 600, 5_000)
    await add('expires soon', 1, 10)
    await add('expires later', 5, 3_000)
    await add('to be made', 2, null)
    await add('not due', -5, 1)
    const order: string[] = []
    for (let n = 0; n < 5; n += 1) order.push(...(await claim(1)))
    expect(order).toEqual(['expires soon', 'to be made', 'expires later', 'due for long'])
  })

  test('what is held is nobody else’s until its lease is over', async () => {
    await add('one', 1, 10)
    expect(await claim(5)).toEqual(['one'])
    expect(await claim(5)).toEqual([])
    await t.db.rows(
      sql`update auth.subscription_renewals set lease_until = auth.clock() - interval '1 second'`,
    )
    expect(await claim(5)).toEqual(['one'])
  })
})
