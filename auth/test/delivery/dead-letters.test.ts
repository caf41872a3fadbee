import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { type DeadLetters, openDeadLetters } from '../../src/delivery/dead-letters.ts'
import { deleteOldDeadRetries } from '../../src/delivery/dead-store.ts'
import { deadRetries } from '../../src/delivery/dead-work.ts'
import { claimDueDeliveries } from '../../src/delivery/store.ts'
import { newId } from '../../src/platform/ids.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addBacklog, addDelivery, addDestination, addEvent, capturedLog } from './world.ts'

let t: TestDatabase
let letters: DeadLetters
const nudged: string[] = []

beforeAll(async () => {
  t = await testDatabase()
  letters = openDeadLetters({ db: t.db, nudge: { nudge: (kind) => nudged.push(kind) } })
})
afterAll(() => t.close())
beforeEach(async () => {
  nudged.length = 0
  await t.db.rows(sql`
    truncate auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.rules, auth.destinations, auth.events, auth.audit, auth.dead_retries`)
})

const kill = (destinationId: string) =>
  t.db.rows(sql`
    update auth.deliveries
       set state = 'dead', reason = 'exhausted', due_at = null, dead_at = auth.clock(), attempts = 10
     where destination_id = ${destinationId}`)
const delivery = (id: string) =>
  t.db.one(
    sql`select state, reason, dead_at, attempts, plan_start, due_at <= auth.clock() as due from auth.deliveries where id = ${id}`,
  )
const open = async (destinationId: string) =>
  (
    await t.db.rows(
      sql`select 1 from auth.deliveries where destination_id = ${destinationId} and state = 'open'`,
    )
  ).length
const audited = (action: string) => t.db.rows(sql`select subject from auth.audit where action = ${action}`)
/** One round of the worker. @returns whether there was one due */
async function round(): Promise<boolean> {
  const work = deadRetries({ db: t.db, log: capturedLog().log })
  await t.db.rows(sql`update auth.dead_retries set due_at = auth.clock() where due_at is not null`)
  const rows = await work.claim(t.db, { id: randomUUID(), seconds: 30, limit: 10 })
  for (const row of rows) await work.run(row, new AbortController().signal)
  return rows.length > 0
}
const request = (destinationId: string, expected: number, idempotencyKey: string = randomUUID()) => ({
  destinationId,
  expected,
  idempotencyKey,
})

describe('the retry of one dead delivery', () => {
  test('DO-10 a double click is one retry: open and due, with a plan that begins anew', async () => {
    const here = await addDestination(t.db)
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    await kill(here)
    const answers = await Promise.all(Array.from({ length: 8 }, () => letters.retry('user:1', id)))
    expect(answers.filter((answer) => answer.kind === 'open' && answer.retried)).toHaveLength(1)
    expect(answers.every((answer) => answer.kind === 'open')).toBe(true)
    expect(await delivery(id)).toEqual({
      state: 'open',
      reason: null,
      dead_at: null,
      attempts: 10,
      plan_start: 10,
      due: true,
    })
    expect(await audited('delivery.retried')).toEqual([{ subject: id }])
    expect(nudged).toEqual(['deliveries'])
    expect(await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 5 })).toMatchObject([
      { id, attempts: 10, plan_start: 10 },
    ])
  })

  test('one that was delivered is finished; one that is not there is unknown', async () => {
    const here = await addDestination(t.db)
    const id = newId('dlv')
    await t.db.rows(sql`
      insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, attempts, created_at, finished_at)
      values (${id}, ${newId('evt')}, auth.clock(), ${here}, 'rul_test', 'delivered', 1, auth.clock(), auth.clock())`)
    expect(await letters.retry('user:1', id)).toEqual({ kind: 'finished' })
    expect(await letters.retry('user:1', newId('dlv'))).toEqual({ kind: 'unknown' })
    expect(await audited('delivery.retried')).toEqual([])
  })
})

describe('the retry of all dead deliveries of a destination', () => {
  test('DO-10 is counted first, and refused when the count has changed', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 3)
    await kill(here)
    expect(await letters.count(here)).toBe(3)
    expect(await letters.count(newId('dst'))).toBeUndefined()
    expect(await letters.retryAll('user:1', request(here, 2))).toEqual({ kind: 'count_changed' })
    expect(await letters.retryAll('user:1', request(newId('dst'), 2))).toEqual({ kind: 'unknown' })
    expect(await t.db.rows(sql`select 1 from auth.dead_retries`)).toEqual([])
    expect(await letters.retryAll('user:1', request(here, 3))).toMatchObject({
      kind: 'accepted',
      retry: { expected: 3, released: 0, running: true },
    })
  })

  test('DO-10 the same key is the same retry, however often and whenever; another one waits for the first', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 15)
    await kill(here)
    const asked = request(here, 15, 'the-same-key')
    const answers = await Promise.all(Array.from({ length: 6 }, () => letters.retryAll('user:1', asked)))
    const ids = new Set(answers.map((answer) => (answer.kind === 'accepted' ? answer.retry.id : answer.kind)))
    expect([...ids]).toEqual([expect.stringMatching(/^rtr_/)])
    expect(await letters.retryAll('user:1', request(here, 15))).toEqual({ kind: 'running' })
    await round()
    expect(await letters.retryAll('user:1', asked)).toMatchObject({
      kind: 'accepted',
      retry: { released: 10 },
    })
    expect(await audited('destination.dead_retried')).toEqual([{ subject: here }])
  })

  test('is released in rounds behind live deliveries: never more of them waiting than one round', async () => {
    const here = await addDestination(t.db, { concurrency: 1 })
    await addBacklog(t.db, here, 25)
    await kill(here)
    await letters.retryAll('user:1', request(here, 25))
    await round()
    expect(await open(here)).toBe(10)
    // nothing was claimed meanwhile: nothing more stands before what is live
    await round()
    expect(await open(here)).toBe(10)
    await t.db.rows(sql`delete from auth.deliveries where state = 'open'`)
    await addBacklog(t.db, here, 7)
    await round()
    expect(await open(here)).toBe(10)
    await t.db.rows(sql`delete from auth.deliveries where state = 'open'`)
    await round()
    await t.db.rows(sql`delete from auth.deliveries where state = 'open'`)
    await round()
    expect(await open(here)).toBe(2)
    expect(await round()).toBe(false)
    expect(await t.db.one(sql`select released, due_at from auth.dead_retries`)).toEqual({
      released: 25,
      due_at: null,
    })
  })

  test('what dies again while it runs is not retried by it a second time', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 15)
    await kill(here)
    await letters.retryAll('user:1', request(here, 15))
    await round()
    await t.db.rows(sql`
      update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock() where state = 'open'`)
    await round()
    expect(await open(here)).toBe(5)
    expect(await letters.count(here)).toBe(10)
    expect(await t.db.one(sql`select released, due_at from auth.dead_retries`)).toEqual({
      released: 15,
      due_at: null,
    })
  })

  test('a destination that takes nothing gets nothing back', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 4)
    await kill(here)
    await letters.retryAll('user:1', request(here, 4))
    await t.db.rows(sql`update auth.destinations set paused = true`)
    await round()
    expect(await open(here)).toBe(0)
    await t.db.rows(sql`update auth.destinations set paused = false`)
    await round()
    expect(await open(here)).toBe(4)
  })

  test('RE-02 a lost lease releases nothing', async () => {
    const here = await addDestination(t.db)
    await addBacklog(t.db, here, 4)
    await kill(here)
    await letters.retryAll('user:1', request(here, 4))
    const work = deadRetries({ db: t.db, log: capturedLog().log })
    const [row] = await work.claim(t.db, { id: randomUUID(), seconds: 30, limit: 1 })
    if (row === undefined) throw new Error('nothing claimed')
    await t.db.rows(sql`update auth.dead_retries set lease_id = ${randomUUID()}::uuid`)
    await work.run(row, new AbortController().signal)
    expect(await open(here)).toBe(0)
  })
})

test('a retry that is finished is forgotten after thirty days, one that runs is not', async () => {
  const add = (id: string, days: number, running: boolean) =>
    t.db.rows(sql`
      insert into auth.dead_retries (id, destination_id, requested_by, idempotency_key, died_until, expected, created_at, due_at)
      values (${id}, ${id}, 'user:1', 'key-1234', auth.clock(), 1, auth.clock() - make_interval(days => ${days}),
              case when ${running}::boolean then auth.clock() end)`)
  await add('old', 31, false)
  await add('young', 29, false)
  await add('running', 31, true)
  expect(await deleteOldDeadRetries(t.db)).toBe(1)
  const left = await t.db.rows<{ id: string }>(sql`select id from auth.dead_retries order by id`)
  expect(left.map(({ id }) => id)).toEqual(['running', 'young'])
})
