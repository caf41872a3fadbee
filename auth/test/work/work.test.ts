import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openLog } from '../../src/platform/log.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { claimDue, extendLease } from '../../src/work/due.ts'
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

  test('work that throws keeps its lease and does not stop the loop', async () => {
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
    expect(await t.db.one(sql`select id, claims, lease_until > auth.clock() held from auth.chores`)).toEqual({
      id: 'c2',
      claims: 1,
      held: true,
    })
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
})
