import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { composeRetention } from '../../src/compose-retention.ts'
import { sql } from '../../src/db/sql.ts'
import { applyRetention } from '../../src/ledger/retention.ts'
import type { RetentionDays } from '../../src/ledger/retention-days.ts'
import { readRetention } from '../../src/ledger/retention-days.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { addDelivery, addDestination, addEvent, capturedLog } from '../delivery/world.ts'

const DAY_MS = 24 * 3600_000
const DAYS: RetentionDays = { events: 30, bodies: 7, hardLimit: 90 }

describe('retention', () => {
  let t: TestDatabase
  let log: ReturnType<typeof capturedLog>
  const metrics = openMetrics()
  beforeEach(async () => {
    t = await testDatabase()
    log = capturedLog()
  })
  afterEach(() => t.close())

  const retain = (days = DAYS) => composeRetention({ db: t.db, log: log.log, metrics }, days)(() => {})
  /** By the database's clock, with the days around it as the chore makes them. */
  const goTo = (days: number) =>
    t.db.rows(sql`
      with moved as (update auth.clock_offset set offset_ms = ${days * DAY_MS} returning 1)
      select auth.ensure_days((now() at time zone 'UTC')::date + ${days}::int - 1, (now() at time zone 'UTC')::date + ${days}::int + 7) from moved`)
  const count = async (
    table: 'events' | 'notifications' | 'deliveries' | 'event_keys' | 'delivery_outcomes',
  ) => {
    const row = await t.db.one<Record<string, string>>(sql`
      select (select count(*) from auth.events) events, (select count(*) from auth.notifications) notifications,
             (select count(*) from auth.deliveries) deliveries, (select count(*) from auth.event_keys) event_keys,
             (select count(*) from auth.delivery_outcomes) delivery_outcomes`)
    return Number(row?.[table])
  }
  const daysOf = async (parent: string) =>
    (
      await t.db.rows<{ name: string }>(sql`
        select c.relname::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
         where p.relname = ${parent} order by 1`)
    ).length

  test('OP-08 events go with their day when it is old, and not a day earlier; bodies and identities go before', async () => {
    const event = await addEvent(t.db)
    await t.db.rows(sql`
      insert into auth.notifications (id, received_at, provider, headers, body, body_sha256)
      values ('ntf_1', ${event.at}, 'one', '', 'body', 'x')`)
    await t.db.rows(sql`
      insert into auth.event_keys (scope, identity, event_id, recorded_at) values ('one', 'key', ${event.id}, ${event.at})`)
    await goTo(7)
    await retain()
    expect([await count('events'), await count('notifications'), await count('event_keys')]).toEqual([
      1, 1, 1,
    ])
    await goTo(9)
    await retain()
    expect([await count('events'), await count('notifications'), await count('event_keys')]).toEqual([
      1, 0, 0,
    ])
    await goTo(30)
    await retain()
    expect(await count('events')).toBe(1)
    await goTo(31)
    await retain()
    expect(await count('events')).toBe(0)
    // one day back and a week ahead of each of the two visits after the last drop are all that is left
    expect(await daysOf('events')).toBeLessThan(45)
    expect(log.lines.join('')).toContain('retention: what was old is gone')
  })

  test('OP-08 a paused or dead delivery keeps the day of its event until the hard limit, then it expires, counted and visible', async () => {
    const destination = await addDestination(t.db, { paused: true })
    const event = await addEvent(t.db)
    await addDelivery(t.db, destination, event)
    const dead = await addDelivery(t.db, destination, event)
    await t.db.rows(
      sql`update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock(), reason = 'exhausted' where id = ${dead}`,
    )
    await goTo(90)
    await retain()
    expect([await count('events'), await count('deliveries')]).toEqual([1, 2])
    await goTo(91)
    await retain()
    expect([await count('events'), await count('deliveries')]).toEqual([0, 0])
    const ended = await t.db.rows(sql`select state, reason, destination_id from auth.delivery_outcomes`)
    expect(ended).toEqual([
      { state: 'expired', reason: 'retention', destination_id: destination },
      { state: 'expired', reason: 'retention', destination_id: destination },
    ])
    expect((await metrics.page()).body).toMatch(new RegExp(`${destination}",outcome="expired"} 2`))
  })

  test('OP-08 what a worker holds is left to it', async () => {
    const destination = await addDestination(t.db)
    const id = await addDelivery(t.db, destination, await addEvent(t.db))
    await goTo(100)
    await t.db.rows(sql`
      update auth.deliveries set lease_until = auth.clock() + interval '30 seconds', lease_id = gen_random_uuid() where id = ${id}`)
    await retain()
    expect(await count('deliveries')).toBe(1)
  })

  test('a day that somebody reads is dropped later, and storing goes on meanwhile', async () => {
    await addEvent(t.db)
    await goTo(40)
    let stored = 0
    await t.db.transaction(async (tx) => {
      await tx.rows(sql`select count(*) from auth.events`)
      const run = retain()
      let running = true
      const over = run.finally(() => {
        running = false
      })
      while (running) {
        await addEvent(t.db)
        if (running) stored += 1
      }
      await over
    })
    // each waited no longer than one try holds the queue
    expect(stored).toBeGreaterThan(10)
    expect(log.lines.join('')).toContain('dropped in the next run')
    await retain()
    expect(
      (await t.db.rows(sql`select 1 from auth.events where recorded_at < auth.clock() - interval '31 days'`))
        .length,
    ).toBe(0)
  })

  const addKeys = (count: number) =>
    t.db.rows(sql`
      insert into auth.event_keys (scope, identity, event_id, recorded_at)
      select 'one', convert_to('key' || n, 'UTF8'), 'evt_' || n, auth.clock() from generate_series(1, ${count}::int) n`)

  test('a run whose time is up says that there is more, and does the other steps nevertheless', async () => {
    await addEvent(t.db)
    await addKeys(5_000)
    await goTo(40)
    let unfinished = 0
    let ms = 0
    const needs = {
      ...{ db: t.db, log: log.log, days: DAYS },
      expireDeliveries: async () => 0,
      // each look at the clock is six seconds later: the first batch of a step begins in time, the second does not
      monotonicMs: () => {
        ms += 6_000
        return ms
      },
      unfinished: () => {
        unfinished += 1
      },
    }
    await applyRetention(needs)
    expect([unfinished, await count('event_keys'), await count('events')]).toEqual([1, 3_000, 0])
    await applyRetention({ ...needs, monotonicMs: () => 0 })
    expect([unfinished, await count('event_keys')]).toEqual([1, 0])
  })

  test('what fails is reported and holds nothing else up', async () => {
    await addEvent(t.db)
    await addKeys(10)
    await goTo(40)
    const slow = Object.assign(new Error('statement timeout'), { code: '57014' })
    const needs = {
      ...{ db: t.db, log: log.log, days: DAYS, monotonicMs: () => 0, unfinished: () => {} },
      expireDeliveries: () => Promise.reject(slow),
    }
    await expect(applyRetention(needs)).rejects.toBe(slow)
    expect([await count('event_keys'), await count('events')]).toEqual([0, 0])
    expect(log.lines.join('')).toContain('"step":"expired_deliveries"')
  })

  test('a day of the present is never dropped, whoever asks', async () => {
    await expect(
      t.db.rows(sql`select auth.drop_day('events', (auth.clock() at time zone 'UTC')::date)`),
    ).rejects.toThrow(/not an old day/)
    await expect(t.db.rows(sql`select auth.drop_day('oauth_tokens', '2020-01-01')`)).rejects.toThrow(
      /not a daily table/,
    )
  })

  test.each([
    [{}, { events: 30, bodies: 30, hardLimit: 90 }, []],
    [{ RETENTION_DAYS: '10' }, { events: 10, bodies: 10, hardLimit: 30 }, []],
    [
      { RETENTION_DAYS: '10', BODY_RETENTION_DAYS: '3', RETENTION_HARD_LIMIT_DAYS: '10' },
      { events: 10, bodies: 3, hardLimit: 10 },
      [],
    ],
    [{ RETENTION_DAYS: '0' }, undefined, ['RETENTION_DAYS must be a number of days from 2 to 3650']],
    [{ RETENTION_DAYS: 'ten' }, undefined, ['RETENTION_DAYS must be a number of days from 2 to 3650']],
    [{ BODY_RETENTION_DAYS: '31' }, undefined, ['BODY_RETENTION_DAYS must not be more than RETENTION_DAYS']],
    [
      { RETENTION_HARD_LIMIT_DAYS: '29' },
      undefined,
      ['RETENTION_HARD_LIMIT_DAYS must not be less than RETENTION_DAYS'],
    ],
  ] as const)('settings %o', (environment: Record<string, string>, days, mistakes) => {
    const found: string[] = []
    const read = readRetention(
      (name) => environment[name],
      (sentence) => {
        found.push(sentence)
        return undefined
      },
    )
    expect(found).toEqual(mistakes)
    if (days !== undefined) expect(read).toEqual(days)
  })
})
