import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { cursorOf, readCursor } from '../../src/delivery/cursor.ts'
import { type History, openHistory } from '../../src/delivery/history-store.ts'
import { settleDead, settleDueAgain, settleUnsent } from '../../src/delivery/settle-store.ts'
import { claimDueDeliveries } from '../../src/delivery/store.ts'
import { newId } from '../../src/platform/ids.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addDelivery, addDestination, addEvent, deliveredOne } from './world.ts'

let t: TestDatabase
let history: History
beforeAll(async () => {
  t = await testDatabase()
  history = openHistory(t.db)
})
afterAll(() => t.close())
beforeEach(async () => {
  await t.db.rows(
    sql`truncate auth.events, auth.notifications, auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.rules, auth.destinations`,
  )
})

const admin = { userId: '1', role: 'admin' } as const
const alice = { userId: '2', role: 'user' } as const
const bob = { userId: '3', role: 'user' } as const
const ids = (items: readonly { id: string }[]) => items.map((item) => item.id)

describe('the history', () => {
  test('IA-05 a user sees the events and deliveries that he owns and 0 rows of others; an admin sees all', async () => {
    const here = await addDestination(t.db)
    const mine = await addEvent(t.db, { ownerId: '2' })
    const foreign = await addEvent(t.db, { ownerId: '3' })
    const relay = await addEvent(t.db, { ownerId: null })
    const of = new Map<string, string>()
    for (const event of [mine, foreign, relay]) of.set(event.id, await addDelivery(t.db, here, event))
    expect(ids((await history.events(alice, { limit: 50 })).items)).toEqual([mine.id])
    expect(ids((await history.events(bob, { limit: 50 })).items)).toEqual([foreign.id])
    expect(ids((await history.events({ userId: '4', role: 'user' }, { limit: 50 })).items)).toEqual([])
    expect((await history.events(admin, { limit: 50 })).items).toHaveLength(3)
    for (const event of [foreign, relay]) {
      const delivery = of.get(event.id) ?? ''
      expect(await history.event(alice, event.id)).toBeUndefined()
      expect(await history.position(alice, event.id)).toBeUndefined()
      expect(await history.delivery(alice, delivery)).toBeUndefined()
      expect((await history.event(admin, event.id))?.id).toBe(event.id)
      expect((await history.delivery(admin, delivery))?.id).toBe(delivery)
    }
    expect((await history.delivery(alice, of.get(mine.id) ?? ''))?.destination_id).toBe(here)
  })

  test('IA-05 a cursor made from a foreign event opens nothing', async () => {
    const foreign = await addEvent(t.db, { ownerId: '3', at: new Date(Date.now() - 60_000) })
    await addEvent(t.db, { ownerId: '3', at: new Date(Date.now() - 120_000) })
    const position = await history.position(admin, foreign.id)
    expect(position).toBeDefined()
    expect((await history.events(alice, { limit: 50, cursor: position })).items).toEqual([])
    const epoch = readCursor(cursorOf({ at: '1990-01-01T00:00:00.000000Z', id: '' }))
    expect((await history.events(alice, { limit: 50, after: epoch })).items).toEqual([])
  })

  test('IA-05 a finished delivery of a foreign event stays foreign', async () => {
    const here = await addDestination(t.db)
    const id = await addDelivery(t.db, here, await addEvent(t.db, { ownerId: '3' }))
    const [row] = await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 1 })
    if (row === undefined) throw new Error('nothing claimed')
    await deliveredOne(t.db, row, { startedAt: new Date(), durationMs: 1, status: 200, error: null })
    expect(await history.delivery(alice, id)).toBeUndefined()
    expect((await history.delivery(bob, id))?.state).toBe('delivered')
  })

  test('pages run from newest to oldest without gap or repetition, also among events of one microsecond', async () => {
    const all: string[] = []
    for (let i = 0; i < 12; i += 1) {
      const event = await addEvent(t.db)
      all.push(event.id)
      // microseconds apart inside one millisecond, in threes at the very same moment
      await t.db.rows(sql`
        update auth.events set recorded_at = date_trunc('day', recorded_at) + make_interval(secs => 1 + ${Math.floor(i / 3)} * 0.000001)
         where id = ${event.id}`)
    }
    const sorted = await t.db.rows<{ id: string }>(
      sql`select id from auth.events order by recorded_at desc, id desc`,
    )
    const seen: string[] = []
    let next: string | undefined
    let pages = 0
    do {
      const page = await history.events(admin, {
        limit: 5,
        cursor: next === undefined ? undefined : readCursor(next),
      })
      seen.push(...ids(page.items))
      next = page.next_cursor
      pages += 1
    } while (next !== undefined && pages < 10)
    expect(seen).toEqual(ids(sorted))
    expect(seen).toHaveLength(all.length)
    expect(pages).toBe(3)
  })

  test('after gives only what is newer than that event', async () => {
    const now = Date.now()
    const [old, middle, fresh] = [
      await addEvent(t.db, { at: new Date(now - 3_000) }),
      await addEvent(t.db, { at: new Date(now - 2_000) }),
      await addEvent(t.db, { at: new Date(now - 1_000) }),
    ]
    const after = async (id: string) =>
      ids((await history.events(admin, { limit: 50, after: await history.position(admin, id) })).items)
    expect(await after(old.id)).toEqual([fresh.id, middle.id])
    expect(await after(fresh.id)).toEqual([])
  })

  test('head_cursor lets a reader see an event that began earlier and was committed later', async () => {
    await addEvent(t.db, { at: new Date(Date.now() - 60_000) })
    const late = await t.db.transaction(async (tx) => {
      const slow = await addEvent(tx, { at: new Date(Date.now() - 3_000) })
      await addEvent(t.db, { at: new Date(Date.now() - 1_000) })
      const page = await history.events(admin, { limit: 50 })
      expect(page.items).toHaveLength(2)
      return { slow, head: readCursor(page.head_cursor) }
    })
    expect(late.head).toBeDefined()
    const page = await history.events(admin, { limit: 50, after: late.head })
    expect(ids(page.items)).toContain(late.slow.id)
    expect(page.items).toHaveLength(2)
  })

  test('an event comes with its deliveries and attempts wherever they stand, and its bytes as text', async () => {
    const [good, bad, slow] = [
      await addDestination(t.db),
      await addDestination(t.db),
      await addDestination(t.db),
    ]
    const data = Buffer.from('{"text":"<script>alert(1)</script> Grüße"}')
    const event = await addEvent(t.db, { data })
    for (const id of [good, bad, slow]) await addDelivery(t.db, id, event)
    const startedAt = new Date('2026-01-05T10:00:00.000Z')
    await t.db.rows(sql`select auth.ensure_day('attempts', '2026-01-05')`)
    const ok = { startedAt, durationMs: 4.5, status: 200, error: null }
    const failed = { startedAt, durationMs: 9, status: 503, error: 'status_503' }
    for (const row of await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 10 })) {
      if (row.destination_id === good) await deliveredOne(t.db, row, ok)
      else if (row.destination_id === bad)
        await t.db.transaction((tx) => settleDead(tx, row, failed, 'exhausted'))
      else await settleDueAgain(t.db, row, failed, 60_000)
    }
    const found = await history.event(admin, event.id)
    expect(found?.payload).toBe(data.toString())
    const at = (id: string) => found?.deliveries.find((delivery) => delivery.destination_id === id)
    expect(found?.deliveries).toHaveLength(3)
    expect(at(good)).toMatchObject({
      destination_name: `to ${good}`,
      state: 'delivered',
      due_at: null,
      attempts: [
        {
          number: 1,
          started_at: '2026-01-05T10:00:00.000Z',
          duration_ms: 4.5,
          outcome: 'delivered',
          status: 200,
          error: null,
        },
      ],
    })
    expect(at(good)?.finished_at).toMatch(/^\d{4}-.*Z$/)
    expect(at(bad)).toMatchObject({ state: 'dead', reason: 'exhausted', due_at: null, finished_at: null })
    expect(at(slow)).toMatchObject({ state: 'open', attempts: [{ error: 'status_503', status: 503 }] })
    expect(at(slow)?.due_at).toMatch(/^\d{4}-.*Z$/)
    const [listed] = (await history.events(admin, { limit: 1 })).items
    expect(listed?.deliveries).toEqual(found?.deliveries)
  })

  test('IA-05 a delivery that outlives its event is seen by administrators alone', async () => {
    const here = await addDestination(t.db)
    const event = await addEvent(t.db, { ownerId: '2' })
    const id = await addDelivery(t.db, here, event)
    expect(await history.delivery(alice, id)).toMatchObject({ id, event_kept: true })
    const [row] = await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 1 })
    if (row === undefined) throw new Error('nothing claimed')
    await settleUnsent(t.db, row, 'expired', 'event_gone')
    await t.db.rows(sql`truncate auth.events`)
    expect(await history.delivery(admin, id)).toMatchObject({
      id,
      event_id: event.id,
      event_kept: false,
      state: 'expired',
      attempts: [],
    })
    expect(await history.delivery(alice, id)).toBeUndefined()
    expect(await history.delivery(bob, id)).toBeUndefined()
  })

  test('DO-07 an open delivery says why it does not go now, and until when; one that ended says nothing of it', async () => {
    const here = await addDestination(t.db)
    const event = await addEvent(t.db)
    const id = await addDelivery(t.db, here, event)
    const waits = async (change = sql`name = name`) => {
      await t.db.rows(sql`update auth.destinations set ${change} where id = ${here}`)
      const detail = await history.delivery(admin, id)
      const [ofEvent] = (await history.event(admin, event.id))?.deliveries ?? []
      expect(ofEvent).toMatchObject({
        waiting: detail?.waiting,
        held_until: detail?.held_until,
        probe_at: detail?.probe_at,
      })
      return [detail?.waiting, detail?.held_until, detail?.probe_at]
    }
    const later = new Date(Date.now() + 600_000).toISOString()
    expect(await waits()).toEqual(['throttled', null, null])
    expect(await waits(sql`held_until = ${later}`)).toEqual(['throttled', later, null])
    expect(await waits(sql`held_until = auth.clock(), breaker = 'open', probe_at = ${later}`)).toEqual([
      'breaker_open',
      null,
      later,
    ])
    expect(await waits(sql`paused = true`)).toEqual(['paused', null, later])
    expect(await waits(sql`disabled_at = auth.clock(), disabled_reason = 'gone'`)).toEqual([
      'disabled',
      null,
      later,
    ])
    await waits(
      sql`breaker = 'closed', probe_at = null, paused = false, disabled_at = null, disabled_reason = null`,
    )
    await t.db.rows(sql`update auth.deliveries set due_at = ${later}`)
    expect(await waits()).toEqual(['scheduled', null, null])
    await t.db.rows(sql`update auth.deliveries set lease_until = ${later}`)
    expect(await waits()).toEqual(['sending', null, null])
    await t.db.rows(
      sql`update auth.deliveries set state = 'dead', due_at = null, lease_until = null, dead_at = auth.clock()`,
    )
    expect(await waits(sql`held_until = ${later}`)).toEqual([null, null, null])
  })

  test('received_at is when the notification came, recorded_at when the event was stored', async () => {
    const event = await addEvent(t.db)
    const received = new Date(event.at.getTime() - 40)
    const notification = newId('ntf')
    await t.db.rows(sql`
      insert into auth.notifications (id, received_at, provider, headers, body, body_sha256)
      values (${notification}, ${received}, 'one', '{}', '', '')`)
    await t.db.rows(sql`update auth.events set notification_id = ${notification} where id = ${event.id}`)
    expect(await history.event(admin, event.id)).toMatchObject({
      received_at: received.toISOString(),
      recorded_at: event.at.toISOString(),
    })
  })
})

describe('a cursor', () => {
  test('reads what it wrote', () => {
    const cursor = { at: '2026-01-05T10:00:00.123456Z', id: newId('evt') }
    expect(readCursor(cursorOf(cursor))).toEqual(cursor)
  })

  test.each([
    '',
    'x',
    '%%%',
    cursorOf({ at: '2026-02-31T10:00:00.123456Z', id: '' }),
    cursorOf({ at: '0000-01-01T10:00:00.123456Z', id: '' }),
    cursorOf({ at: '2026-01-05T25:00:00.123456Z', id: '' }),
    cursorOf({ at: 'infinity', id: '' }),
    cursorOf({ at: '2026-01-05T10:00:00.123456Z', id: "x' or true" }),
    'A'.repeat(5_000),
  ])('%j is none', (text) => {
    expect(readCursor(text)).toBeUndefined()
  })
})
