import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { type Database, sql } from '../../src/db/sql.ts'
import { settleDueAgain, settlePoison, settleUnsent } from '../../src/delivery/settle-store.ts'
import { claimDueDeliveries, type DeliveryRow } from '../../src/delivery/store.ts'
import { extendLease } from '../../src/work/due.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addBacklog, addDelivery, addDestination, addEvent, capturedLog, deliveredOne } from './world.ts'

let t: TestDatabase
let other: Pool
beforeAll(async () => {
  t = await testDatabase()
  other = openPool({
    url: t.url,
    name: 'work',
    size: 10,
    connectMs: 5_000,
    statementMs: 10_000,
    log: capturedLog().log,
  })
})
afterAll(async () => {
  await other.close()
  await t.close()
})
beforeEach(async () => {
  await t.db.rows(
    sql`truncate auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.rules, auth.destinations`,
  )
})

const claim = (limit = 100, db: Pool = t.db) =>
  claimDueDeliveries(db, { id: randomUUID(), seconds: 30, limit })
const attempt = () => ({ startedAt: new Date(), durationMs: 5, status: 200, error: null })
const of = (destinationId: string, rows: readonly DeliveryRow[]) =>
  rows.filter((row) => row.destination_id === destinationId)
const passLeases = () =>
  t.db.rows(sql`update auth.deliveries set lease_until = auth.clock() - interval '1 second'`)
async function waitsForALock(query: string): Promise<void> {
  const waiting = () =>
    t.db.rows(sql`
      select 1 from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query like ${query}`)
  await expect.poll(async () => (await waiting()).length, { timeout: 10_000, interval: 10 }).toBe(1)
}
const only = <T>(rows: readonly T[]): T => {
  const [row] = rows
  if (rows.length !== 1 || row === undefined) throw new Error(`${rows.length} rows instead of one`)
  return row
}

describe('the claim', () => {
  test('takes what is due, oldest first, and leaves what is not due, leased, dead or paused', async () => {
    const here = await addDestination(t.db)
    const paused = await addDestination(t.db, { paused: true })
    const event = await addEvent(t.db)
    const late = await addDelivery(t.db, here, event, -1_000)
    const older = await addDelivery(t.db, here, event, -9_000)
    await addDelivery(t.db, here, event, 60_000)
    await addDelivery(t.db, paused, event)
    const dead = await addDelivery(t.db, here, event)
    await t.db.rows(
      sql`update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock() where id = ${dead}`,
    )
    const rows = await claim()
    expect(rows.map((row) => row.id)).toEqual([older, late])
    expect(rows[0]).toMatchObject({ claims: 1, attempts: 0, event_id: event.id, event_recorded_at: event.at })
    expect(await claim()).toEqual([])
  })

  test('R9 a clogged destination does not starve another: the quiet one gets its rows in the first claim', async () => {
    const clogged = await addDestination(t.db, { concurrency: 1000 })
    await addBacklog(t.db, clogged, 3_000)
    const quiet = await addDestination(t.db)
    await addBacklog(t.db, quiet, 3)
    // even when the clogged one's turn comes first
    await t.db.rows(sql`update auth.destinations set last_served_at = auth.clock() where id = ${quiet}`)
    const rows = await claim(20)
    expect(of(quiet, rows)).toHaveLength(3)
    expect(of(clogged, rows)).toHaveLength(17)
  })

  test('R9 more destinations without free slots than one claim looks at hide the others for one claim at most', async () => {
    for (let i = 0; i < 70; i += 1) await addBacklog(t.db, await addDestination(t.db, { concurrency: 1 }), 2)
    expect(await claim(64)).toHaveLength(64)
    expect(await claim(64)).toHaveLength(6)
    const quiet = await addDestination(t.db)
    await t.db.rows(sql`update auth.destinations set last_served_at = auth.clock() where id = ${quiet}`)
    await addBacklog(t.db, quiet, 1)
    const found = [...(await claim()), ...(await claim())]
    expect(of(quiet, found)).toHaveLength(1)
    expect(found).toHaveLength(1)
  })

  test('concurrency counts leases in force over all claims, also deep in a backlog and after failures', async () => {
    const here = await addDestination(t.db, { concurrency: 5 })
    await addBacklog(t.db, here, 200)
    const rows = await claim()
    expect(rows).toHaveLength(5)
    expect(await claim()).toEqual([])
    const [first, second] = rows
    if (first === undefined || second === undefined) throw new Error('no rows')
    await deliveredOne(t.db, first, attempt())
    await settleDueAgain(t.db, second, attempt(), 60_000)
    expect(await claim()).toHaveLength(2)
    expect(await claim()).toEqual([])
    await passLeases()
    expect(await claim()).toHaveLength(5)
  })

  test('a rate is never exceeded in any second: a sliding window over all claims, whatever was saved up', async () => {
    const here = await addDestination(t.db, { rate: 4, concurrency: 1000 })
    await addBacklog(t.db, here, 100)
    const age = (seconds: number) =>
      t.db.rows(sql`
        update auth.destinations
           set recent_at = array(select at - make_interval(secs => ${seconds}) from unnest(recent_at) at)`)
    expect(await claim(3)).toHaveLength(3)
    expect(await claim()).toHaveLength(1)
    expect(await claim()).toEqual([])
    await age(0.9)
    expect(await claim()).toEqual([])
    await age(0.5)
    expect(await claim()).toHaveLength(4)
    await age(3_600)
    expect(await claim()).toHaveLength(4)
    expect(await claim()).toEqual([])
  })

  test('pause drops nothing: what waited goes on at the rate, not in a burst', async () => {
    const here = await addDestination(t.db, { rate: 5, concurrency: 1000, paused: true })
    await addBacklog(t.db, here, 50)
    expect(await claim()).toEqual([])
    await t.db.rows(sql`update auth.destinations set paused = false`)
    expect(await claim()).toHaveLength(5)
    expect(await claim()).toEqual([])
    expect(await t.db.rows(sql`select 1 from auth.deliveries where state = 'open'`)).toHaveLength(50)
  })

  test('what a rate remembers stays small, and nothing is remembered without one', async () => {
    const limited = await addDestination(t.db, { rate: 10_000, concurrency: 1000 })
    const free = await addDestination(t.db, { concurrency: 1000 })
    await addBacklog(t.db, limited, 60)
    await addBacklog(t.db, free, 60)
    for (let i = 0; i < 60; i += 1) await claim(2)
    const rows = await t.db.rows<{ id: string; entries: number; claims: number }>(sql`
      select id, cardinality(recent_at) as entries, (select sum(n)::int from unnest(recent_claims) n) as claims from auth.destinations`)
    const kept = rows.find((row) => row.id === limited)
    expect(kept?.entries).toBeLessThanOrEqual(26)
    expect(kept?.claims).toBeGreaterThan(0)
    expect(rows.find((row) => row.id === free)?.entries).toBe(0)
  })

  test('RE-01 sixteen claimers over two pools take 600 rows of three destinations, none of them twice', async () => {
    const destinations: string[] = []
    for (let i = 0; i < 3; i += 1) {
      const id = await addDestination(t.db, { concurrency: 1000 })
      await addBacklog(t.db, id, 200)
      destinations.push(id)
    }
    const taken: string[] = []
    await Promise.all(
      Array.from({ length: 16 }, async (_, i) => {
        for (let empty = 0; empty < 20; ) {
          const rows = await claim(7, i % 2 === 0 ? t.db : other)
          taken.push(...rows.map((row) => row.id))
          empty = rows.length === 0 ? empty + 1 : 0
        }
      }),
    )
    expect(taken).toHaveLength(600)
    expect(new Set(taken).size).toBe(600)
  })

  test('RE-01 claimers at the same time never pass a destination’s concurrency together', async () => {
    for (let round = 0; round < 15; round += 1) {
      const here = await addDestination(t.db, { concurrency: 5 })
      await addBacklog(t.db, here, 60)
      const rows = (
        await Promise.all(Array.from({ length: 12 }, (_, i) => claim(50, i % 2 === 0 ? t.db : other)))
      ).flat()
      expect(of(here, rows).length).toBeLessThanOrEqual(5)
    }
  })

  test('ingest that is storing deliveries for a destination keeps nobody from claiming its others', async () => {
    const here = await addDestination(t.db)
    const event = await addEvent(t.db)
    await addDelivery(t.db, here, event)
    const claimed = await t.db.transaction(async (ingest) => {
      await addDelivery(ingest, here, event)
      return claim(10, other)
    })
    expect(claimed).toHaveLength(1)
    // and the other way round: a claim that has not committed does not hold ingest up
    await t.db.transaction(async (tx) => {
      await tx.rows(sql`select id from auth.destinations where id = ${here} for no key update`)
      await addDelivery(other, here, event)
    })
  })

  test('RE-13 with a backlog at one destination a claim reads no table through', async () => {
    const clogged = await addDestination(t.db, { concurrency: 5 })
    for (let i = 0; i < 2; i += 1) await addBacklog(t.db, clogged, 30_000)
    for (let i = 0; i < 100; i += 1) await addBacklog(t.db, await addDestination(t.db), 5)
    await t.db.rows(sql`analyze auth.deliveries`)
    await claim(5)
    const nodes = await nodesOfClaim(50)
    expect(nodes.length).toBeGreaterThan(3)
    expect(nodes.filter((type) => type === 'Seq Scan')).toEqual([])
  })

  test('RE-13 a plan that is made while nothing waits, and kept, reads no table through either', async () => {
    await t.db.rows(sql`delete from auth.deliveries`)
    await t.db.rows(sql`vacuum (analyze) auth.deliveries`)
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 1)
    const nodes = await nodesOfClaim(1)
    expect(nodes.length).toBeGreaterThan(3)
    expect(nodes.filter((type) => type === 'Seq Scan')).toEqual([])
  })

  /** What the statements of a claim of so many do with the table of deliveries. */
  async function nodesOfClaim(expected: number): Promise<string[]> {
    const plans: string[] = []
    const explaining: Database = {
      ...t.db,
      transaction: (work) =>
        t.db.transaction((tx) =>
          work({
            ...tx,
            rows: async (statement) => {
              plans.push(JSON.stringify(await tx.rows(sql`explain (format json) ${statement}`)))
              return tx.rows(statement)
            },
          }),
        ),
    }
    const claimed = await claimDueDeliveries(explaining, { id: randomUUID(), seconds: 30, limit: 50 })
    expect(claimed).toHaveLength(expected)
    return plans.flatMap((plan) =>
      [...plan.matchAll(/"Node Type":"([^"]+)"[^{}]*?"Relation Name":"deliveries"/g)].map(
        (match) => match[1] ?? '',
      ),
    )
  }

  test('waits for no disk, and leaves that to itself: whoever uses its connection next waits again', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 1)
    const setting = (db: Pick<Database, 'one'>) =>
      db.one<{ is: string }>(sql`select current_setting('synchronous_commit') as is`)
    const seen: (string | undefined)[] = []
    const watched: Database = {
      ...other,
      transaction: (work) =>
        other.transaction(async (tx) => {
          const rows = await work(tx)
          seen.push((await setting(tx))?.is)
          return rows
        }),
    }
    expect(await claimDueDeliveries(watched, { id: randomUUID(), seconds: 30, limit: 5 })).toHaveLength(1)
    expect(seen).toEqual(['off'])
    // more than the pool has connections, so that each is asked
    const after = await Promise.all(Array.from({ length: 20 }, () => setting(other)))
    expect(new Set(after.map((row) => row?.is))).toEqual(new Set(['on']))
  })

  test('a row that somebody is settling this moment is skipped, not waited for', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 2)
    const rows = await t.db.transaction(async (tx) => {
      await tx.rows(sql`select id from auth.deliveries order by due_at limit 1 for update`)
      return claim(10, other)
    })
    expect(rows).toHaveLength(1)
  })

  test('a claim changes no indexed column: it stays a HOT update', async () => {
    const { count } = only(
      await t.db.rows<{ count: string }>(sql`
        select count(*) from pg_index i
          join pg_attribute a on a.attrelid = i.indrelid and (a.attnum = any(i.indkey) or pg_get_expr(i.indpred, i.indrelid) ~ ('\\y' || a.attname || '\\y'))
         where i.indrelid = 'auth.deliveries'::regclass and a.attname in ('lease_until', 'lease_id', 'claims')`),
    )
    expect(count).toBe('0')
  })
})

describe('settling', () => {
  test('a delivered row moves to the outcomes with its attempt, in one statement', async () => {
    const here = await addDestination(t.db)
    const event = await addEvent(t.db)
    const id = await addDelivery(t.db, here, event)
    expect(await deliveredOne(t.db, only(await claim()), attempt())).toBe(true)
    expect(await t.db.rows(sql`select 1 from auth.deliveries`)).toEqual([])
    expect(only(await t.db.rows(sql`select * from auth.delivery_outcomes`))).toMatchObject({
      id,
      event_id: event.id,
      event_recorded_at: event.at,
      destination_id: here,
      rule_id: 'rul_test',
      state: 'delivered',
      reason: null,
      attempts: 1,
    })
    expect(only(await t.db.rows(sql`select * from auth.attempts`))).toMatchObject({
      delivery_id: id,
      number: 1,
      outcome: 'delivered',
      status: 200,
    })
  })

  test('RE-02 a stale lease settles nothing: neither state nor attempt', async () => {
    const here = await addDestination(t.db)
    await addDelivery(t.db, here, await addEvent(t.db))
    const stale = only(await claim())
    await passLeases()
    const fresh = only(await claim())
    expect(fresh).toMatchObject({ id: stale.id, claims: 2 })
    expect(await deliveredOne(t.db, stale, attempt())).toBe(false)
    expect(await settleDueAgain(t.db, stale, attempt(), 1_000)).toBe(false)
    expect(await t.db.transaction((tx) => settlePoison(tx, stale))).toBe(false)
    expect(await settleUnsent(t.db, stale, 'cancelled', 'destination_deleted')).toBe(false)
    expect(await t.db.rows(sql`select 1 from auth.attempts`)).toEqual([])
    expect(await t.db.rows(sql`select 1 from auth.delivery_outcomes`)).toEqual([])
    expect(await deliveredOne(t.db, fresh, attempt())).toBe(true)
    expect(await deliveredOne(t.db, fresh, attempt())).toBe(false)
    expect(await t.db.rows(sql`select 1 from auth.attempts`)).toHaveLength(1)
  })

  test('RE-02 a heartbeat that commits while a result is being settled drops no result', async () => {
    const here = await addDestination(t.db)
    await addDelivery(t.db, here, await addEvent(t.db))
    const row = only(await claim())
    let settling: Promise<boolean> | undefined
    await t.db.transaction(async (tx) => {
      expect(await extendLease(tx, 'auth.deliveries', row, 45)).toBe(true)
      settling = deliveredOne(other, row, attempt())
      await waitsForALock('%given as materialized%')
    })
    expect(await settling).toBe(true)
    expect(await t.db.rows(sql`select 1 from auth.deliveries`)).toEqual([])
    expect(await t.db.rows(sql`select 1 from auth.attempts`)).toHaveLength(1)
    expect(await t.db.rows(sql`select 1 from auth.delivery_outcomes`)).toHaveLength(1)
  })

  test('a failed row is due again by the database’s clock, its claims forgotten', async () => {
    const here = await addDestination(t.db)
    await addDelivery(t.db, here, await addEvent(t.db))
    await settleDueAgain(
      t.db,
      only(await claim()),
      { ...attempt(), status: 503, error: 'status_503' },
      90_000,
    )
    const row = only(
      await t.db.rows<{ ahead: number }>(
        sql`select *, extract(epoch from due_at - auth.clock())::float as ahead from auth.deliveries`,
      ),
    )
    expect(row).toMatchObject({ state: 'open', claims: 0, attempts: 1, lease_id: null, lease_until: null })
    expect(row.ahead).toBeGreaterThan(80)
    expect(row.ahead).toBeLessThanOrEqual(90)
  })

  test('a missing day is made on demand, for outcomes and for attempts', async () => {
    const here = await addDestination(t.db)
    const event = await addEvent(t.db)
    await addDelivery(t.db, here, event)
    await addDelivery(t.db, here, event)
    const days = 86_400_000 * 50
    await t.db.rows(sql`update auth.clock_offset set offset_ms = ${days}`)
    try {
      const [one, two] = await claim()
      if (one === undefined || two === undefined) throw new Error('no rows')
      const later = { ...attempt(), startedAt: new Date(Date.now() + days + 86_400_000) }
      expect(await deliveredOne(t.db, one, later)).toBe(true)
      expect(await settleDueAgain(t.db, two, { ...later, startedAt: new Date(0) }, 1_000)).toBe(true)
    } finally {
      await t.db.rows(sql`update auth.clock_offset set offset_ms = 0`)
    }
    expect(await t.db.rows(sql`select 1 from auth.attempts`)).toHaveLength(2)
    expect(await t.db.rows(sql`select 1 from auth.delivery_outcomes`)).toHaveLength(1)
  })
})
