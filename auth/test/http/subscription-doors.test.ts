/** The doors to one subscription: off and on, how often it is checked, renew now; whatever else is asked for changes nothing. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn, until } from './people.ts'
import { ask, askJson, json } from './wire.ts'

let world: World
let owner: Person
let connectionId = ''
let id = ''

beforeAll(async () => {
  world = await openWorld()
  owner = await signIn(world, 'owner@example.com')
})
afterAll(() => world.close())
beforeEach(async () => {
  await world.db.rows(sql`delete from auth.oauth_tokens`)
  const seeded = await seedSubscription(world.database.url, world.encryptionKey, 'owner@example.com')
  connectionId = seeded.connectionId
  const row = await world.db.one<{ id: string }>(
    sql`select id from auth.subscriptions where connection_id = ${connectionId}`,
  )
  id = row?.id ?? ''
  await world.db.rows(sql`
    insert into auth.subscription_renewals (id, due_at) values (${id}, auth.clock() + interval '3 days')`)
  await world.db.rows(sql`
    insert into auth.subscription_checks (id, due_at) values (${id}, auth.clock() + interval '5 hours')`)
})

const choose = (body: unknown) =>
  askJson(world.internalPort, 'PATCH', `/internal/subscriptions/${id}`, owner.headers, body)
const renew = () =>
  ask(world.internalPort, {
    method: 'POST',
    path: `/internal/subscriptions/${id}/renew`,
    headers: owner.headers,
  })
const errorOf = (answer: Parameters<typeof json>[0]) => (json(answer) as { error: string }).error
/** As the console sees it. */
const view = async () => {
  const answer = await ask(world.internalPort, { path: '/internal/connections', headers: owner.headers })
  const { items } = json(answer) as { items: { subscriptions: Record<string, unknown>[] }[] }
  return items[0]?.subscriptions[0]
}
const due = async () =>
  (await world.db.one<{ renewal: number | null; check: number | null }>(sql`
      select round(extract(epoch from r.due_at - auth.clock()) / 60)::int as renewal,
             round(extract(epoch from k.due_at - auth.clock()) / 60)::int as check
        from auth.subscription_renewals r join auth.subscription_checks k on k.id = r.id where r.id = ${id}`)) ?? {
    renewal: null,
    check: null,
  }

describe('WI-16 the doors to one subscription', () => {
  test('off is off at once and stays in sight; on is wanted anew', async () => {
    expect((await choose({ enabled: false })).status).toBe(204)
    expect(await view()).toMatchObject({ id, enabled: false, state: 'stopped' })
    const stops = sql`select 1 from auth.subscription_stops where connection_id = ${connectionId}`
    expect(await world.db.rows(stops)).toHaveLength(1)
    expect((await choose({ enabled: false })).status).toBe(204)
    expect((await choose({ enabled: true })).status).toBe(204)
    const again = await view()
    expect(again).toMatchObject({ kind: 'mail', enabled: true })
    expect(again?.id).not.toBe(id)
    expect(['wanted', 'failed']).toContain(again?.state)
  })

  test.each([[1], [60], [1_440]])('it is checked every %d minutes, from now on', async (minutes) => {
    expect((await choose({ check_minutes: minutes })).status).toBe(204)
    expect(await view()).toMatchObject({ check_minutes: minutes, enabled: true })
    expect((await due()).check).toBeLessThanOrEqual(Math.min(minutes, 300))
    expect((await choose({ check_minutes: null })).status).toBe(204)
    expect(await view()).toMatchObject({ check_minutes: null })
  })

  test.each([
    [{}],
    [[]],
    [null],
    ['off'],
    [{ enabled: 'false' }],
    [{ enabled: 0 }],
    [{ enabled: null }],
    [{ check_minutes: 0 }],
    [{ check_minutes: -5 }],
    [{ check_minutes: 1_441 }],
    [{ check_minutes: 1.5 }],
    [{ check_minutes: '10' }],
    [{ check_minutes: 1e99 }],
    [{ check_minutes: [10] }],
    [{ enabled: false, resource: 'me/events' }],
    [{ enabled: false, state: 'active' }],
  ])('%j is refused and changes nothing', async (body) => {
    const before = await view()
    const answer = await choose(body)
    expect(answer.status).toBe(400)
    expect(await view()).toEqual(before)
  })

  test('renew now: due at once, and ten minutes after its last renewal at the earliest', async () => {
    await world.db.rows(
      sql`update auth.subscriptions set last_renewed_at = auth.clock() - interval '4 minutes' where id = ${id}`,
    )
    expect((await renew()).status).toBe(204)
    expect((await due()).renewal).toBe(6)
    expect((await renew()).status).toBe(204)
    expect((await due()).renewal).toBe(6)
    await world.db.rows(
      sql`update auth.subscriptions set last_renewed_at = auth.clock() - interval '1 day' where id = ${id}`,
    )
    expect((await renew()).status).toBe(204)
    // the try itself fails here: no provider is there, and it is told
    await until(
      'it was tried',
      async () =>
        (
          await world.db.rows(
            sql`select 1 from auth.subscriptions where id = ${id} and renewal_failure_code is not null`,
          )
        ).length === 1,
    )
  })

  test('what is off cannot be renewed, and what is ended cannot be switched', async () => {
    await choose({ enabled: false })
    const notLive = await renew()
    expect([notLive.status, errorOf(notLive)]).toEqual([409, 'not_live'])
    await world.db.rows(sql`update auth.oauth_tokens set status = 'revoked' where id = ${connectionId}`)
    const notLiving = await choose({ enabled: true })
    expect([notLiving.status, errorOf(notLiving)]).toEqual([409, 'not_living'])
    const off = sql`select 1 from auth.subscriptions_off where connection_id = ${connectionId}`
    expect(await world.db.rows(off)).toHaveLength(1)
  })
})
