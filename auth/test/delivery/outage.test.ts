/**
 * A receiver that is down for six hours, on the moved clock: what is asked of it while it is down, what it costs the
 * deliveries, and how it is met when it comes back. Every request is a real one.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { sql } from '../../src/db/sql.ts'
import { type Egress, openEgress } from '../../src/delivery/egress.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import {
  addDelivery,
  addDestination,
  addEvent,
  capturedLog,
  deliveryWorkOn,
  ledgerOn,
  moveClock,
  systemClock,
} from './world.ts'

const HOUR_MS = 3_600_000
const DOWN_MS = 6 * HOUR_MS
/** There before, and in its last minutes: what is held when the receiver is back would be a burst. */
const BEFORE = 60
const LATE = 90
const RATE = 5

let t: TestDatabase
let rulesPool: Pool
let down: Receiver
let egress: Egress
const clock = systemClock()
const { log } = capturedLog()
/** Simulated moments of all requests, by what they were answered. */
const asked: { at: number; up: boolean }[] = []
let up = false
let offsetMs = 0
let work: ReturnType<typeof deliveryWorkOn>
let here: string

beforeAll(async () => {
  t = await testDatabase()
  rulesPool = openPool({ url: t.url, name: 'ingest', size: 2, connectMs: 5_000, statementMs: 10_000, log })
  await t.db.rows(sql`select auth.ensure_days(auth.clock()::date, (auth.clock() + interval '5 days')::date)`)
  down = await startReceiver((_request, response) => {
    asked.push({ at: clock.now().getTime(), up })
    if (up) response.writeHead(204).end()
    else response.socket?.destroy()
  })
  egress = openEgress({ allow: [{ host: '127.0.0.1', port: down.port, pathPrefix: '/hook' }] })
  const { ledger } = await ledgerOn(rulesPool)
  work = deliveryWorkOn({ db: t.db, egress, ledger, clock, log, random: Math.random })
  here = await addDestination(t.db, { url: down.url, concurrency: 20, rate: RATE })
}, 60_000)
afterAll(async () => {
  await egress.close()
  await down.close()
  await rulesPool.close()
  await t.close()
})

const step = async (ms: number) => {
  offsetMs += Math.ceil(ms)
  await moveClock(t.db, clock, offsetMs)
}
async function runDue(): Promise<number> {
  const rows = await work.claim(t.db, { id: randomUUID(), seconds: 30, limit: 100 })
  await Promise.all(rows.map((row) => work.run(row, new AbortController().signal)))
  return rows.length
}
const left = async () =>
  (await t.db.one<{ open: number; next_ms: number | null }>(sql`
      select count(*)::int as open, extract(epoch from min(due_at) - auth.clock())::float8 * 1000 as next_ms from auth.deliveries`)) ?? {
    open: 0,
    next_ms: null,
  }

describe('a receiver that is down for six hours', () => {
  test('DO-07 F8 F26 is asked twice a minute at most, burns no plan, and gets everything at its rate when it is back', async () => {
    for (let n = 0; n < BEFORE; n += 1) await addDelivery(t.db, here, await addEvent(t.db))
    for (const end = clock.now().getTime() + DOWN_MS; clock.now().getTime() < end; ) {
      await runDue()
      await step(15_000)
    }
    for (let n = 0; n < LATE; n += 1) await addDelivery(t.db, here, await addEvent(t.db))
    expect(await runDue()).toBeLessThanOrEqual(1)
    const opened = await t.db.one(sql`select breaker from auth.destinations`)
    expect(opened).toEqual({ breaker: 'open' })
    const whileDown = asked.map(({ at }) => at)
    // nothing but probes once the breaker had opened: two a minute, of which the first minutes are no part
    expect(whileDown.length).toBeLessThanOrEqual((DOWN_MS / 60_000) * 2 + 60)
    const late = whileDown.slice(60)
    const gaps = late.slice(1).map((at, i) => at - (late[i] ?? 0))
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(29_900)

    up = true
    for (let rounds = 0; rounds < 20_000; rounds += 1) {
      const claimed = await runDue()
      const { open, next_ms } = await left()
      if (open === 0) break
      // in steps smaller than the window while something is due; to the next plan when nothing is
      await step(claimed > 0 || (next_ms ?? 0) <= 0 ? 150 : (next_ms ?? 0) + 1)
    }
    const outcomes = await t.db.rows<{ state: string; attempts: number }>(
      sql`select state, attempts from auth.delivery_outcomes`,
    )
    expect(outcomes).toHaveLength(BEFORE + LATE)
    expect(outcomes.every(({ state, attempts }) => state === 'delivered' && attempts <= 10)).toBe(true)
    const arrived = asked.filter((one) => one.up).map(({ at }) => at)
    expect(arrived).toHaveLength(BEFORE + LATE)
    const densest = Math.max(
      ...arrived.map((from) => arrived.filter((at) => at >= from && at < from + 1_000).length),
    )
    // as fast as the rate allows, and no faster
    expect(densest).toBe(RATE)
    const figures = {
      hoursDown: DOWN_MS / HOUR_MS,
      deliveries: outcomes.length,
      askedWhileDown: whileDown.length,
      mostAttempts: Math.max(...outcomes.map(({ attempts }) => attempts)),
      ratePerSecond: RATE,
      densestSecondAfter: densest,
    }
    console.log(`figures: ${JSON.stringify(figures)}`)
  }, 120_000)
})
