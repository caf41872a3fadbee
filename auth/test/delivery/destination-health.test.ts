import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backlogGauges } from '../../src/compose-backlog.ts'
import { type Db, sql } from '../../src/db/sql.ts'
import { openDestinationHealth } from '../../src/delivery/health-store.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import { type Metrics, openMetrics } from '../../src/platform/metrics.ts'
import { oldestDue } from '../../src/work/backlog-store.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addDelivery, addDestination, addEvent } from './world.ts'

let t: TestDatabase
let here: string
let other: string

beforeAll(async () => {
  t = await testDatabase()
  here = await addDestination(t.db)
  other = await addDestination(t.db)
  const event = await addEvent(t.db)
  await addDelivery(t.db, here, event, -120_000)
  await addDelivery(t.db, here, event, 60_000)
  const leased = await addDelivery(t.db, here, event, -1_000)
  const dead = await addDelivery(t.db, here, event)
  await addDelivery(t.db, other, event, -600_000)
  await t.db.rows(
    sql`update auth.deliveries set lease_until = auth.clock() + interval '30 minutes' where id = ${leased}`,
  )
  await t.db.rows(
    sql`update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock() where id = ${dead}`,
  )
  await t.db.rows(sql`update auth.destinations set paused = true where id = ${other}`)
  await t.db.rows(sql`select auth.ensure_day('attempts', (auth.clock() - interval '1 day')::date)`)
  const attempt = (secondsAgo: number, outcome: string, ms: number, destination = here) =>
    t.db.rows(sql`
      insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome)
      values ('dlv_x', 'evt_x', ${destination}, 1, auth.clock() - make_interval(secs => ${secondsAgo}), ${ms}, ${outcome})`)
  for (let n = 1; n <= 20; n += 1) await attempt(90, 'delivered', n)
  await attempt(1_830, 'failed', 500)
  await attempt(3_700, 'failed', 9_999)
  await attempt(90, 'failed', 9_999, other)
})
afterAll(() => t.close())

describe('how a destination is doing', () => {
  test('tells what waits and the last hour minute by minute, of this destination alone', async () => {
    const health = await openDestinationHealth(t.db, monotonicMs)(here)
    expect(health).toMatchObject({
      destination_id: here,
      state: 'active',
      breaker: 'closed',
      open: 3,
      due: 2,
      in_flight: 1,
      dead: 1,
    })
    expect(health?.oldest_due_seconds).toBeGreaterThanOrEqual(120)
    const { minutes, ...hour } = health?.last_hour ?? { minutes: [] }
    expect(hour).toMatchObject({ delivered: 20, failed: 1, p50_ms: 11 })
    expect(minutes).toHaveLength(60)
    const told = minutes.filter((minute) => minute.delivered + minute.failed > 0)
    expect(told).toMatchObject([
      { delivered: 0, failed: 1, p50_ms: 500, p95_ms: 500 },
      { delivered: 20, failed: 0, p50_ms: 10.5 },
    ])
    expect(minutes[0]).toMatchObject({ delivered: 0, p50_ms: null })
  })

  test('has no answer for one that is unknown or deleted', async () => {
    expect(await openDestinationHealth(t.db, monotonicMs)(newId('dst'))).toBeUndefined()
  })

  test('tells of paused, failing and disabled ones as what they are', async () => {
    const state = async () => (await openDestinationHealth(t.db, monotonicMs)(other))?.state
    expect(await state()).toBe('paused')
    await t.db.rows(
      sql`update auth.destinations set paused = false, failing_since = auth.clock(), breaker = 'open', probe_at = auth.clock() where id = ${other}`,
    )
    expect(await openDestinationHealth(t.db, monotonicMs)(other)).toMatchObject({
      state: 'failing',
      breaker: 'open',
      probe_at: expect.any(String),
      failing_since: expect.any(String),
    })
    await t.db.rows(
      sql`update auth.destinations set disabled_at = auth.clock(), disabled_reason = 'gone' where id = ${other}`,
    )
    expect(await openDestinationHealth(t.db, monotonicMs)(other)).toMatchObject({
      state: 'disabled',
      disabled_reason: 'gone',
    })
  })
})

describe('the gauges', () => {
  const value = async (metrics: Metrics, name: string, destination?: string) => {
    const labels = destination === undefined ? '' : `\\{destination="${destination}"\\}`
    const { body } = await metrics.page()
    return new RegExp(`^flovify_${name}${labels} (\\S+)$`, 'm').exec(body)?.[1]
  }

  test('tell what waits at each destination, held ones included; one that is gone disappears', async () => {
    const metrics = openMetrics()
    const refresh = backlogGauges({ db: t.db, metrics, monotonicMs: () => 0 })
    await refresh()
    expect(await value(metrics, 'deliveries_due')).toBe('3')
    expect(await value(metrics, 'deliveries_dead')).toBe('1')
    expect(Number(await value(metrics, 'oldest_due_seconds'))).toBeGreaterThanOrEqual(600)
    const of = (name: string, destination: string) => value(metrics, `destination_${name}`, destination)
    expect(await of('due', here)).toBe('2')
    expect(await of('in_flight', here)).toBe('1')
    expect(await of('dead', here)).toBe('1')
    expect(Number(await of('oldest_due_seconds', other))).toBeGreaterThanOrEqual(600)
    expect(await of('breaker_open', other)).toBe('1')
    await t.db.rows(sql`delete from auth.deliveries where destination_id = ${other}`)
    await t.db.rows(sql`update auth.destinations set deleted_at = auth.clock() where id = ${other}`)
    await refresh()
    expect((await metrics.page()).body).not.toContain(other)
  })

  test('the age does not depend on the count: counting waits for nineteen times what it took, and may fail', async () => {
    let now = 0
    let counted = 0
    let fails = false
    const db: Db = {
      ...t.db,
      rows: async (query, name) => {
        if (!query.text.includes('group by')) return t.db.rows(query, name)
        counted += 1
        if (fails) throw new Error('took too long')
        now += 1_000
        return t.db.rows(query, name)
      },
    }
    const metrics = openMetrics()
    const refresh = backlogGauges({ db, metrics, monotonicMs: () => now })
    await Promise.all([refresh(), refresh()])
    expect(counted).toBe(1)
    const before = await value(metrics, 'deliveries_due')
    await t.db.rows(
      sql`update auth.deliveries set due_at = auth.clock() - interval '5000 seconds' where due_at is not null`,
    )
    now += 18_999
    await refresh()
    expect(counted).toBe(1)
    expect(Number(await value(metrics, 'oldest_due_seconds'))).toBeGreaterThanOrEqual(5_000)
    fails = true
    now += 1
    await refresh()
    expect(counted).toBe(2)
    expect(await value(metrics, 'deliveries_due')).toBe(before)
    expect(Number(await value(metrics, 'oldest_due_seconds'))).toBeGreaterThanOrEqual(5_000)
  })

  test('RE-13 the age is one look into an index for each destination, however many wait', async () => {
    await t.db.rows(sql`
      insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
      select 'dlv_many' || n, event_id, event_recorded_at, destination_id, rule_id, auth.clock(), created_at
        from (select * from auth.deliveries where due_at is not null limit 1) one, generate_series(1, 5000) n`)
    await t.db.rows(sql`analyze auth.deliveries`)
    const plan = JSON.stringify(await t.db.rows(sql`explain (format json) ${oldestDue}`))
    expect(plan).not.toMatch(/"Seq Scan"[^{}]*"Relation Name":"deliveries"/)
    expect(plan).toContain('deliveries_due')
  })
})
