import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openLog } from '../../src/platform/log.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { claimDue, extendLease, releaseLease } from '../../src/work/due.ts'
import { type DueRow, openWorker, type WorkKind } from '../../src/work/work.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('the due-row worker', () => {
  let t: TestDatabase
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())
  beforeEach(() => t.db.rows(sql`delete from auth.chores`))

  const needs = () => ({ db: t.db, log: openLog({ write: () => {} }), metrics: openMetrics() })
  const make = (count: number) =>
    t.db.rows(sql`insert into auth.chores (id) select 'c' || i from generate_series(1, ${count}::int) i`)
  const settle = (row: DueRow) =>
    t.db.rows(sql`delete from auth.chores where id = ${row.id} and lease_id = ${row.lease_id} returning id`)
  const kind = (
    run: (row: DueRow, signal: AbortSignal) => Promise<void>,
    leaseSeconds = 30,
  ): WorkKind<DueRow> => ({
    name: 'chores',
    leaseSeconds,
    batch: 8,
    concurrency: 8,
    claim: (db, lease) => claimDue(db, 'auth.chores', lease),
    extend: (db, row, seconds) => extendLease(db, 'auth.chores', row, seconds),
    release: (db, row, seconds) => releaseLease(db, 'auth.chores', row, seconds),
    run,
    poison: async (_db, row) => {
      await settle(row)
      poisoned.push(row.id)
    },
  })
  const poisoned: string[] = []

  async function until(check: () => Promise<boolean>, ms = 10_000): Promise<void> {
    const end = performance.now() + ms
    while (!(await check())) {
      if (performance.now() > end) throw new Error('it did not happen in time')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const left = async () => Number((await t.db.one<{ n: string }>(sql`select count(*) n from auth.chores`))?.n)

  test('two workers work on every due row once', async () => {
    await make(200)
    const seen: string[] = []
    const run = async (row: DueRow) => {
      seen.push(row.id)
      await settle(row)
    }
    const workers = [openWorker(needs(), [kind(run)]), openWorker(needs(), [kind(run)])]
    for (const worker of workers) worker.start()
    await until(async () => (await left()) === 0)
    await Promise.all(workers.map((worker) => worker.drain(1000)))
    expect(seen).toHaveLength(200)
    expect(new Set(seen).size).toBe(200)
  })

  test('a row whose worker died comes again when its lease has passed, and a late answer settles nothing', async () => {
    await make(1)
    const [lost] = await claimDue(t.db, 'auth.chores', { id: crypto.randomUUID(), seconds: 1, limit: 5 })
    expect(lost?.claims).toBe(1)
    expect(await claimDue(t.db, 'auth.chores', { id: crypto.randomUUID(), seconds: 1, limit: 5 })).toEqual([])
    await t.db.rows(sql`update auth.chores set lease_until = auth.clock() - interval '1 second'`)
    const [again] = await claimDue(t.db, 'auth.chores', { id: crypto.randomUUID(), seconds: 30, limit: 5 })
    expect(again?.claims).toBe(2)
    expect(lost && (await settle(lost))).toEqual([])
    expect(lost && (await extendLease(t.db, 'auth.chores', lost, 30))).toBe(false)
    expect(again && (await settle(again))).toHaveLength(1)
  })

  test('RE-02 a lease is kept while its work runs, past its first length; one that was taken away ends the work', async () => {
    await make(2)
    const ended: string[] = []
    const run = async (row: DueRow, signal: AbortSignal) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      ended.push(row.id)
    }
    const worker = openWorker(needs(), [kind(run, 2)])
    worker.start()
    const leased = async () =>
      (
        await t.db.rows<{ id: string }>(
          sql`select id from auth.chores where lease_until > auth.clock() order by id`,
        )
      ).map(({ id }) => id)
    await until(async () => (await leased()).length === 2)
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    expect(await leased()).toEqual(['c1', 'c2'])
    expect(ended).toEqual([])
    await t.db.rows(
      sql`update auth.chores set lease_id = gen_random_uuid(), lease_until = auth.clock() + interval '1 hour' where id = 'c1'`,
    )
    await until(async () => ended.length > 0)
    expect(ended).toEqual(['c1'])
    await worker.drain(0)
  })

  test('work that throws is given back uncounted, later, and does not stop the loop', async () => {
    await make(3)
    const done: string[] = []
    const worker = openWorker(needs(), [
      kind(async (row) => {
        if (row.id === 'c2') throw new Error('boom')
        await settle(row)
        done.push(row.id)
      }),
    ])
    worker.start()
    await until(async () => (await left()) === 1)
    await worker.drain(1000)
    expect(done.sort()).toEqual(['c1', 'c3'])
    expect(
      await t.db.one(sql`select id, claims, lease_id, due_at > auth.clock() later from auth.chores`),
    ).toEqual({ id: 'c2', claims: 0, lease_id: null, later: true })
  })

  test('work that throws each time is given back for ever longer', async () => {
    await make(1)
    let tries = 0
    const worker = openWorker(needs(), [
      kind(() => {
        tries += 1
        return Promise.reject(new Error('boom'))
      }),
    ])
    const waits = async () => {
      const row = await t.db.one<{ waits: number | null }>(
        sql`select case when lease_id is null then extract(epoch from due_at - auth.clock())::float end as waits from auth.chores`,
      )
      return row?.waits ?? 0
    }
    worker.start()
    await until(async () => tries === 1 && (await waits()) > 0)
    await t.db.rows(sql`update auth.chores set due_at = auth.clock()`)
    await until(async () => tries === 2 && (await waits()) > 0)
    expect(await waits()).toBeGreaterThan(5)
    await worker.drain(1000)
  })

  test('a row that was claimed more than three times without an answer is poison', async () => {
    await make(1)
    await t.db.rows(sql`update auth.chores set claims = 3`)
    const worker = openWorker(needs(), [kind(() => Promise.reject(new Error('must not run')))])
    worker.start()
    await until(async () => (await left()) === 0)
    await worker.drain(1000)
    expect(poisoned).toEqual(['c1'])
  })

  test('RE-07 the last try before poison has no other suspect beside it, and fresh rows do not wait', async () => {
    await make(6)
    await t.db.rows(sql`update auth.chores set claims = 2 where id <> 'c6'`)
    const suspects = { now: 0, most: 0 }
    const seen: DueRow[] = []
    const run = async (row: DueRow) => {
      seen.push(row)
      const isSuspect = row.claims === 3
      if (isSuspect) suspects.most = Math.max(suspects.most, ++suspects.now)
      await new Promise((resolve) => setTimeout(resolve, 50))
      if (isSuspect) suspects.now -= 1
      await settle(row)
    }
    const worker = openWorker(needs(), [kind(run)])
    worker.start()
    await until(async () => (await left()) === 0, 20_000)
    await worker.drain(1000)
    expect(suspects).toEqual({ now: 0, most: 1 })
    expect(seen.map((row) => row.id).sort()).toEqual(['c1', 'c2', 'c3', 'c4', 'c5', 'c6'])
    expect(seen.slice(0, 2).map((row) => row.id)).toContain('c6')
  })

  test('a suspect that cannot be given back is run: its lease alone would count it as crashed', async () => {
    await make(2)
    await t.db.rows(sql`update auth.chores set claims = 2`)
    const seen: string[] = []
    const run = async (row: DueRow) => {
      seen.push(row.id)
      await settle(row)
    }
    const broken = { ...kind(run), release: () => Promise.reject(new Error('away')) }
    const worker = openWorker(needs(), [broken])
    worker.start()
    await until(async () => (await left()) === 0)
    await worker.drain(1000)
    expect(seen.sort()).toEqual(['c1', 'c2'])
  })

  test('draining waits for what is in flight, and aborts it after the grace', async () => {
    await make(1)
    let aborted = false
    let started = false
    const worker = openWorker(needs(), [
      kind(async (_row, signal) => {
        started = true
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        aborted = true
      }),
    ])
    worker.start()
    await until(async () => started)
    await worker.drain(50)
    expect(aborted).toBe(true)
    expect(await left()).toBe(1)
  })

  test('ten failures of a row are no crash: it is not poison', async () => {
    await make(1)
    let runs = 0
    const worker = openWorker(needs(), [
      kind(async (row) => {
        runs += 1
        await t.db.rows(sql`update auth.chores set due_at = auth.clock() - interval '1 hour'`)
        if (runs <= 10) throw new Error('the database was away')
        await settle(row)
      }),
    ])
    worker.start()
    const hurry = setInterval(() => {
      t.db.rows(sql`update auth.chores set due_at = auth.clock()`).then(
        () => worker.nudge('chores'),
        () => {},
      )
    }, 20)
    await until(async () => (await left()) === 0)
    clearInterval(hurry)
    await worker.drain(1000)
    expect(runs).toBe(11)
    expect(poisoned).not.toContain('c2')
  })

  test('a nudge that comes during a claim is not lost', async () => {
    const claims: number[] = []
    const slow: WorkKind<DueRow> = {
      ...kind(async () => {}),
      claim: async () => {
        claims.push(performance.now())
        await new Promise((resolve) => setTimeout(resolve, 20))
        worker.nudge('chores')
        return []
      },
    }
    const worker = openWorker(needs(), [slow])
    worker.start()
    await new Promise((resolve) => setTimeout(resolve, 500))
    await worker.drain(100)
    // with each nudge lost to the idle pause of 250 ms there would be two
    expect(claims.length).toBeGreaterThan(8)
  })

  test('RE-13 what rests begins in slices, and nothing is claimed meanwhile, whatever a nudge says', async () => {
    await make(20)
    const order: string[] = []
    const resting: WorkKind<DueRow> = {
      ...kind(async (row) => {
        order.push('run')
        await settle(row)
      }),
      claim: async (db, lease) => {
        const rows = await claimDue(db, 'auth.chores', lease)
        order.push(`claim ${rows.length}`)
        return rows
      },
      restMs: () => {
        setTimeout(() => worker.nudge('chores'), 10)
        return 400
      },
    }
    const worker = openWorker(needs(), [resting])
    worker.start()
    await until(async () => (await left()) === 0)
    await worker.drain(1_000)
    const eight = Array(8).fill('run')
    expect(order.slice(0, 21)).toEqual(['claim 8', ...eight, 'claim 8', ...eight, 'claim 4', 'run', 'run'])
  })

  test('a drain ends a rest: what is claimed is worked on, not left to its lease', async () => {
    await make(20)
    let ran = 0
    const worker = openWorker(needs(), [
      {
        ...kind(async (row) => {
          ran += 1
          await settle(row)
        }),
        restMs: () => 800_000,
      },
    ])
    worker.start()
    await until(async () => ran > 0)
    expect(ran).toBeLessThan(8)
    await worker.drain(1_000)
    expect(ran).toBe(8)
    expect(await left()).toBe(12)
  })

  test('the grace of a drain holds although every slot is busy', async () => {
    await make(8)
    let started = 0
    const worker = openWorker(needs(), [
      kind(async (_row, signal) => {
        started += 1
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      }),
    ])
    worker.start()
    await until(async () => started === 8)
    const began = performance.now()
    await worker.drain(100)
    expect(performance.now() - began).toBeLessThan(3_000)
    // given back at once, for the next process
    expect(
      await t.db.one(sql`select count(*)::int n from auth.chores where lease_id is null and claims = 0`),
    ).toEqual({ n: 8 })
  })
})
