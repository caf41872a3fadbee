import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { readCursor } from '../../src/delivery/cursor.ts'
import { isDelivery } from '../../src/delivery/delivery-history-store.ts'
import {
  DELIVERY_STATES,
  type DeliveryQuery,
  type DeliveryState,
  listDeliveries,
  listing,
} from '../../src/delivery/delivery-list-store.ts'
import { newId, newTimedId } from '../../src/platform/ids.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addDelivery, addDestination, addEvent } from './world.ts'

let t: TestDatabase
let busy: string
let quiet: string
let ids: Record<string, string>

const DAY = 86_400_000
const OUTCOMES = 150_000
/** Of one statement: all of them at once takes longer than a statement may on a busy machine. */
const STEP = 10_000
const OPEN = 60_000
const DEAD = 40_000

/** Two hundred thousand rows over six days at one destination, and a few at another. */
beforeAll(async () => {
  t = await testDatabase()
  busy = await addDestination(t.db)
  quiet = await addDestination(t.db)
  await t.db.rows(sql`select auth.ensure_days((auth.clock() - interval '7 days')::date, auth.clock()::date)`)
  for (let from = 1; from <= OUTCOMES; from += STEP)
    await t.db.rows(sql`
    insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, finished_at)
    select 'dlv_' || lpad(translate(n::text, '0123456789', 'abcdefghij'), 26, 'a'), 'evt_x', at, ${busy}, 'rul_x', 'delivered', null, 1, at, at
      from generate_series(${from}::int, ${from + STEP - 1}::int) n, lateral (select auth.clock() - make_interval(secs => n * 3.4) as at) a`)
  for (let from = 1; from <= OPEN + DEAD; from += STEP)
    await t.db.rows(sql`
    insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, due_at, dead_at, attempts, created_at)
    select 'dlv_' || lpad(translate(n::text, '0123456789', 'abcdefghij'), 26, 'z'), 'evt_x', at, ${busy}, 'rul_x',
           case when n > ${OPEN}::int then 'dead' else 'open' end, null,
           case when n <= ${OPEN}::int then at end, case when n > ${OPEN}::int then at end, 0, at
      from generate_series(${from}::int, ${from + STEP - 1}::int) n, lateral (select auth.clock() - make_interval(secs => n * 0.1) as at) a`)
  const event = await addEvent(t.db)
  const add = (dueInMs: number) => addDelivery(t.db, quiet, event, dueInMs)
  const finish = async (state: string, daysAgo: number) => {
    const id = await add(0)
    await t.db.rows(sql`
      with gone as (delete from auth.deliveries where id = ${id} returning *)
      insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, attempts, created_at, finished_at)
      select id, event_id, event_recorded_at, destination_id, rule_id, ${state}, 1, created_at, auth.clock() - make_interval(days => ${daysAgo}) from gone`)
    return id
  }
  ids = {
    scheduled: await add(60_000),
    throttled: await add(-60_000),
    sending: await add(-120_000),
    dead: await add(0),
    delivered: await finish('delivered', 1),
    cancelled: await finish('cancelled', 2),
    expired: await finish('expired', 3),
    event: event.id,
  }
  await t.db.rows(
    sql`update auth.deliveries set state = 'dead', reason = 'exhausted', due_at = null, dead_at = auth.clock() where id = ${ids.dead}`,
  )
  await t.db.rows(
    sql`update auth.deliveries set lease_until = auth.clock() + interval '30 minutes' where id = ${ids.sending}`,
  )
  await t.db.rows(sql`analyze auth.deliveries`)
  await t.db.rows(sql`analyze auth.delivery_outcomes`)
}, 120_000)
afterAll(() => t.close())

const list = (query: Partial<DeliveryQuery> = {}) => listDeliveries(t.db, { limit: 50, ...query })
const idsOf = async (query: Partial<DeliveryQuery>) => (await list(query)).items.map(({ id }) => id)

interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly Plans?: readonly Plan[]
}
const rowsOf = (node: Plan) =>
  (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']
const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)]
async function planOf(query: Partial<DeliveryQuery>): Promise<Plan[]> {
  const [row] = await t.db.rows<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    sql`explain (analyze, format json) ${listing({ limit: 50, ...query })}`,
  )
  if (row === undefined) throw new Error('no plan')
  return nodes(row['QUERY PLAN'][0].Plan).filter((node) =>
    /^deliver(ies|y_outcomes)/.test(node['Relation Name'] ?? ''),
  )
}

describe('the list of deliveries', () => {
  test('holds every state of one destination, newest first, and says why an open one waits', async () => {
    const { items } = await list({ destinationId: quiet })
    expect(items.map(({ id, state, waiting }) => [id, state, waiting])).toEqual([
      [ids.scheduled, 'open', 'scheduled'],
      [ids.dead, 'dead', null],
      [ids.throttled, 'open', 'throttled'],
      [ids.sending, 'open', 'sending'],
      [ids.delivered, 'delivered', null],
      [ids.cancelled, 'cancelled', null],
      [ids.expired, 'expired', null],
    ])
    expect(items[0]).toMatchObject({ destination_name: `to ${quiet}`, event_id: ids.event, attempts: 0 })
  })

  test.each([
    ['open', ['scheduled', 'throttled', 'sending']],
    ['throttled', ['throttled']],
    ['dead', ['dead']],
    ['delivered', ['delivered']],
    ['cancelled', ['cancelled']],
    ['expired', ['expired']],
    ['paused', []],
  ] as [DeliveryState, string[]][])('filters by %s', async (state, names) => {
    expect(await idsOf({ destinationId: quiet, state })).toEqual(names.map((name) => ids[name]))
  })

  test('what waits at a paused, disabled or failing destination is found as paused', async () => {
    for (const [change, back, waiting] of [
      [sql`paused = true`, sql`paused = false`, 'paused'],
      [
        sql`disabled_at = auth.clock(), disabled_reason = 'gone'`,
        sql`disabled_at = null, disabled_reason = null`,
        'disabled',
      ],
      [
        sql`breaker = 'open', probe_at = auth.clock()`,
        sql`breaker = 'closed', probe_at = null`,
        'breaker_open',
      ],
    ] as const) {
      await t.db.rows(sql`update auth.destinations set ${change} where id = ${quiet}`)
      const { items } = await list({ state: 'paused' })
      expect(items.map((item) => [item.id, item.waiting])).toEqual([
        [ids.scheduled, waiting],
        [ids.throttled, waiting],
        [ids.sending, 'sending'],
      ])
      expect(await idsOf({ destinationId: quiet, state: 'throttled' })).toEqual([])
      await t.db.rows(sql`update auth.destinations set ${back} where id = ${quiet}`)
    }
  })

  test('filters by event and by time, both ends included', async () => {
    expect(await idsOf({ eventId: ids.event })).toHaveLength(7)
    const now = Date.now()
    const from = new Date(now - 2.5 * DAY)
    const to = new Date(now - 0.5 * DAY)
    expect(await idsOf({ destinationId: quiet, from, to })).toEqual([ids.delivered, ids.cancelled])
  })

  test('DO-10 what outlives its event is found by it, from the days whose events are gone alone', async () => {
    const gone = newId('evt')
    const [day] = await t.db.rows<{ at: Date }>(
      sql`select date_trunc('milliseconds', auth.clock() - interval '40 days') as at`,
    )
    const id = newTimedId('dlv', day?.at ?? new Date())
    await t.db.rows(sql`
      insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, finished_at)
      values (${id}, ${gone}, ${day?.at}, ${quiet}, 'rul_x', 'expired', 'retention', 0, ${day?.at}, auth.clock())`)
    expect(await idsOf({ eventId: gone })).toEqual([id])
    expect(await idsOf({ eventId: newId('evt') })).toEqual([])
    const read = await planOf({ eventId: newId('evt') })
    expect(read.filter((node) => node['Node Type'] === 'Seq Scan' && rowsOf(node) > 0)).toEqual([])
    expect(read.reduce((sum, node) => sum + rowsOf(node), 0)).toBeLessThan(1_000)
    await t.db.rows(sql`delete from auth.delivery_outcomes where id = ${id}`)
  })

  test('pages by cursor through all of it without a gap or a repetition', async () => {
    const from = new Date(Date.now() - 3_600_000)
    const seen: string[] = []
    let at: string | undefined
    for (let pages = 0; pages < 5; pages += 1) {
      const page = await list({
        from,
        ...(at === undefined ? {} : { cursor: readCursor(at) }),
      })
      seen.push(...page.items.map(({ id }) => id))
      at = page.next_cursor
    }
    expect(new Set(seen).size).toBe(250)
    expect(seen).toEqual(await idsOf({ from, limit: 250 }))
  })

  test('DO-10 one delivery is found by its id without reading the others', async () => {
    const id = newTimedId('dlv', new Date(Date.now() - DAY))
    const [row] = await t.db.rows<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
      sql`explain (analyze, format json) select state from auth.delivery_outcomes w where ${isDelivery(id)}`,
    )
    if (row === undefined) throw new Error('no plan')
    const read = nodes(row['QUERY PLAN'][0].Plan)
    expect(read.filter((node) => node['Node Type'] === 'Seq Scan' && rowsOf(node) > 0)).toEqual([])
    expect(read.reduce((sum, node) => sum + rowsOf(node), 0)).toBeLessThan(100)
  })

  test.each([undefined, ...DELIVERY_STATES])(
    'DO-10 a page of %s reads a page of rows from indexes, whatever there is: no table is read through',
    async (state) => {
      const newest = (await list({ state })).next_cursor
      for (const query of [
        { state },
        { state, destinationId: busy },
        { state, destinationId: quiet },
        { state, eventId: ids.event },
        { state, to: new Date(Date.now() - 3 * DAY) },
        ...(newest === undefined ? [] : [{ state, cursor: readCursor(newest) }]),
      ]) {
        const read = await planOf(query)
        // a day without a row is read through, all of it
        expect(read.filter((node) => node['Node Type'] === 'Seq Scan' && rowsOf(node) > 0)).toEqual([])
        const rows = read.reduce((sum, node) => sum + rowsOf(node), 0)
        expect(rows).toBeLessThan(1_000)
      }
    },
  )
})
