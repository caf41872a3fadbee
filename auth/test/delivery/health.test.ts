import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { sql } from '../../src/db/sql.ts'
import { listDeliveries } from '../../src/delivery/delivery-list-store.ts'
import {
  pauseDestination,
  resumeDestination,
  setDestinationColumns,
} from '../../src/delivery/destination-store.ts'
import { type Egress, openEgress } from '../../src/delivery/egress.ts'
import { openHealth } from '../../src/delivery/health.ts'
import { openDestinationHealth } from '../../src/delivery/health-store.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { openWorker } from '../../src/work/work.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import {
  addBacklog,
  addDelivery,
  addDestination,
  addEvent,
  capturedLog,
  deliveryWorkOn,
  ledgerOn,
  moveClock,
  systemClock,
} from './world.ts'

let t: TestDatabase
let other: Pool
let rulesPool: Pool
let ledger: Ledger
let reloadRules: () => Promise<void>
let receiver: Receiver
let egress: Egress
const clock = systemClock()
const { log } = capturedLog()
const metrics = openMetrics()

beforeAll(async () => {
  t = await testDatabase()
  other = openPool({ url: t.url, name: 'work', size: 8, connectMs: 5_000, statementMs: 10_000, log })
  // rules are read on connections of their own, as in the service: a transaction waits for them
  rulesPool = openPool({ url: t.url, name: 'ingest', size: 2, connectMs: 5_000, statementMs: 10_000, log })
  ;({ ledger, reloadRules } = await ledgerOn(rulesPool))
})
afterAll(async () => {
  await other.close()
  await rulesPool.close()
  await t.close()
})
beforeEach(async () => {
  await t.db.rows(sql`
    truncate auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.rules, auth.destinations, auth.events, auth.audit`)
  await reloadRules()
  receiver = await startReceiver()
  egress = openEgress({ allow: [{ host: '127.0.0.1', port: receiver.port, pathPrefix: '/' }] })
})
afterEach(async () => {
  await egress.close()
  await receiver.close()
  await moveClock(t.db, clock, 0)
})

const kind = (db: Pool = t.db) => deliveryWorkOn({ db, egress, ledger, clock, metrics, log })
async function runDue(limit = 100, db: Pool = t.db): Promise<number> {
  const work = kind(db)
  const rows = await work.claim(db, { id: randomUUID(), seconds: 30, limit })
  await Promise.all(rows.map((row) => work.run(row, new AbortController().signal)))
  return rows.length
}
const answerWith = (status: number, headers: Record<string, string> = {}) => {
  receiver.answer = (_request, response) => response.writeHead(status, headers).end()
}
/** As many attempts as the breaker wants to see, all of them failed. */
async function breakDown(destinationId: string): Promise<void> {
  answerWith(503)
  await addBacklog(t.db, destinationId, 20)
  for (let claimed = 0; claimed < 20; ) claimed += await runDue()
}
const destination = async (id: string) => {
  const row = await t.db.one<{
    breaker: string
    probe_at: Date | null
    failing_since: Date | null
    disabled_at: Date | null
    disabled_reason: string | null
  }>(
    sql`select breaker, probe_at, failing_since, disabled_at, disabled_reason from auth.destinations where id = ${id}`,
  )
  if (row === undefined) throw new Error('no such destination')
  return row
}
const told = async () =>
  (
    await t.db.rows<{ type: string; data: Buffer }>(
      sql`select type, data from auth.events where type like '%destination%' order by seq`,
    )
  ).map(({ type, data }) => ({
    ...(JSON.parse(data.toString()) as { subject: string; data: Record<string, unknown> }),
    type: type.replace('ca.flovify.', ''),
  }))
const types = async () => (await told()).map(({ type }) => type)
const ruleFor = async (destinationId: string) => {
  await t.db.rows(sql`
    insert into auth.rules (id, name, destination_id) values (${newId('rul')}, 'everything', ${destinationId})`)
  await reloadRules()
}
const openAttempts = () =>
  t.db.rows<{ attempts: number }>(sql`select attempts from auth.deliveries order by attempts desc`)

describe('the breaker', () => {
  test('DO-07 F8 opens on the rate, holds everything, probes with one each 30 s, and closes on the first success', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    await breakDown(here)
    expect(await destination(here)).toMatchObject({ breaker: 'open', disabled_at: null })
    await t.db.rows(sql`truncate auth.deliveries`)
    await addBacklog(t.db, here, 30)

    const asked = receiver.requests.length
    expect(await runDue()).toBe(0)
    await moveClock(t.db, clock, 29_000)
    expect(await runDue()).toBe(0)
    await moveClock(t.db, clock, 31_000)
    expect(await runDue()).toBe(1)
    expect(await runDue()).toBe(0)
    expect(receiver.requests).toHaveLength(asked + 1)
    // nothing is burnt but the probe itself
    expect((await openAttempts()).map((row) => row.attempts)).toEqual([1, ...Array(29).fill(0)])

    await moveClock(t.db, clock, 62_000)
    answerWith(204)
    expect(await runDue()).toBe(1)
    expect(await destination(here)).toMatchObject({ breaker: 'closed', probe_at: null, failing_since: null })
    expect(await runDue()).toBe(29)
    expect(await types()).toEqual(['destination.v1.failing', 'destination.v1.recovered'])
  })

  test('DO-07 what failed before it closed does not open it again', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    await breakDown(here)
    await moveClock(t.db, clock, 31_000)
    await t.db.rows(sql`update auth.deliveries set due_at = auth.clock()`)
    answerWith(204)
    expect(await runDue()).toBe(1)
    answerWith(503)
    expect(await runDue()).toBe(19)
    expect(await destination(here)).toMatchObject({ breaker: 'closed' })
  })

  test('F10 Retry-After puts the next probe off', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    await breakDown(here)
    await t.db.rows(sql`update auth.deliveries set due_at = auth.clock()`)
    await moveClock(t.db, clock, 31_000)
    answerWith(429, { 'retry-after': '600' })
    expect(await runDue()).toBe(1)
    await moveClock(t.db, clock, 31_000 + 590_000)
    expect(await runDue()).toBe(0)
    await moveClock(t.db, clock, 31_000 + 601_000)
    expect(await runDue()).toBe(1)
  })

  test.each([
    ['another address', (id: string) => setDestinationColumns(t.db, id, { url: `${receiver.url}/moved` })],
    ['resuming', (id: string) => pauseDestination(t.db, id, 'test').then(() => resumeDestination(t.db, id))],
  ] as const)(
    'F10 DO-07 %s brings the probe of an open breaker forward: one goes at once',
    async (_, act) => {
      const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
      await breakDown(here)
      await moveClock(t.db, clock, 31_000)
      await t.db.rows(sql`update auth.deliveries set due_at = auth.clock()`)
      answerWith(503, { 'retry-after': '3600' })
      expect(await runDue()).toBe(1)
      await moveClock(t.db, clock, 300_000)
      await setDestinationColumns(t.db, here, { name: 'the same place', url: receiver.url })
      expect(await runDue()).toBe(0)
      await act(here)
      expect(await destination(here)).toMatchObject({ breaker: 'open' })
      answerWith(204)
      expect(await runDue()).toBe(1)
      expect(await destination(here)).toMatchObject({
        breaker: 'closed',
        probe_at: null,
        failing_since: null,
      })
      expect(await runDue()).toBe(18)
    },
  )

  test.each([429, 503])(
    'F10 DO-07 a %d with Retry-After holds all of the destination, for every process',
    async (status) => {
      const here = await addDestination(t.db, { url: receiver.url, concurrency: 2 })
      const elsewhere = await addDestination(t.db, { url: receiver.url })
      await addBacklog(t.db, here, 10)
      answerWith(status, { 'retry-after': '600' })
      expect(await runDue()).toBe(2)
      const asked = receiver.requests.length
      expect(await runDue()).toBe(0)
      expect(await runDue(100, other)).toBe(0)
      await moveClock(t.db, clock, 590_000)
      expect(await runDue()).toBe(0)
      expect(receiver.requests).toHaveLength(asked)
      const health = await openDestinationHealth(t.db, monotonicMs)(here)
      expect(health).toMatchObject({ state: 'active', breaker: 'closed', due: 8 })
      expect(Date.parse(health?.held_until ?? '') - Date.now()).toBeGreaterThan(590_000)
      expect((await openDestinationHealth(t.db, monotonicMs)(elsewhere))?.held_until).toBeNull()
      // the eight that waited have lost no attempt
      const { items } = await listDeliveries(t.db, { limit: 50, state: 'throttled', destinationId: here })
      expect(items.map(({ attempts }) => attempts)).toEqual(Array.from({ length: 8 }, () => 0))
      await addBacklog(t.db, elsewhere, 1)
      answerWith(204)
      expect(await runDue()).toBe(1)
      await moveClock(t.db, clock, 601_000)
      expect((await openDestinationHealth(t.db, monotonicMs)(here))?.held_until).toBeNull()
      expect(await runDue()).toBe(2)
    },
  )

  test('F10 a receiver holds itself for an hour at most, never shorter than it said before; another address or resuming ends it', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 1 })
    await addBacklog(t.db, here, 3)
    answerWith(503, { 'retry-after': '86400' })
    expect(await runDue()).toBe(1)
    const heldFor = async () =>
      (Date.parse((await openDestinationHealth(t.db, monotonicMs)(here))?.held_until ?? '') - Date.now()) /
      1_000
    expect(await heldFor()).toBeLessThanOrEqual(3_601)
    expect(await heldFor()).toBeGreaterThan(3_590)
    await openHealth({ db: t.db, ledger, metrics, log }).failed({ id: here, url: receiver.url }, 429, 5_000)
    expect(await heldFor()).toBeGreaterThan(3_590)
    await setDestinationColumns(t.db, here, { url: receiver.url })
    expect(await heldFor()).toBeGreaterThan(3_590)
    const moved = `${receiver.url}/moved`
    await setDestinationColumns(t.db, here, { url: moved })
    expect((await openDestinationHealth(t.db, monotonicMs)(here))?.held_until).toBeNull()
    await openHealth({ db: t.db, ledger, metrics, log }).failed({ id: here, url: moved }, 429, 5_000_000)
    expect(await runDue()).toBe(0)
    await pauseDestination(t.db, here, 'test')
    await resumeDestination(t.db, here)
    answerWith(204)
    expect(await runDue()).toBe(1)
  })

  test.each([
    ['a pause that it asks for', 429, { 'retry-after': '600' }],
    ['being gone', 410, {}],
  ])(
    'F10 F12 what an earlier address says, %s, is not held against the present one',
    async (_, status, headers) => {
      const here = await addDestination(t.db, { url: receiver.url, concurrency: 1 })
      await addBacklog(t.db, here, 3)
      receiver.answer = (_request, response) => {
        // while the attempt is under way
        setDestinationColumns(t.db, here, { url: `${receiver.url}/moved` }).then(
          () => response.writeHead(status, headers).end(),
          () => response.destroy(),
        )
      }
      expect(await runDue()).toBe(1)
      expect(await destination(here)).toMatchObject({ disabled_at: null })
      expect((await openDestinationHealth(t.db, monotonicMs)(here))?.held_until).toBeNull()
      answerWith(204)
      expect(await runDue()).toBe(1)
      expect(receiver.requests.at(-1)?.path).toContain('/moved')
    },
  )

  test('another failure holds only its own delivery, whatever it says', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 1 })
    await addBacklog(t.db, here, 3)
    answerWith(500, { 'retry-after': '600' })
    expect(await runDue()).toBe(1)
    expect(await runDue()).toBe(1)
    expect((await openDestinationHealth(t.db, monotonicMs)(here))?.held_until).toBeNull()
  })

  test('F9 a receiver that fails every second time gets everything, its breaker closed', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    let n = 0
    receiver.answer = (_request, response) => {
      n += 1
      response.writeHead(n % 2 === 0 ? 204 : 500).end()
    }
    await addBacklog(t.db, here, 60)
    for (let round = 0; round < 20 && (await openAttempts()).length > 0; round += 1) {
      await runDue()
      await t.db.rows(sql`update auth.deliveries set due_at = auth.clock()`)
    }
    expect(await openAttempts()).toEqual([])
    expect(await destination(here)).toMatchObject({ breaker: 'closed', failing_since: null })
  })

  test('many processes that see the same failures tell of them once', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 200 })
    answerWith(503)
    await addBacklog(t.db, here, 120)
    await Promise.all([runDue(60, t.db), runDue(60, other)])
    await runDue()
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        openHealth({ db: i % 2 === 0 ? t.db : other, ledger, metrics, log }).failed(
          { id: here, url: receiver.url },
          503,
          undefined,
        ),
      ),
    )
    expect(await types()).toEqual(['destination.v1.failing'])
    expect(await t.db.rows(sql`select 1 from auth.audit where action = 'destination.failing'`)).toHaveLength(
      1,
    )
  })

  test('one failing destination leaves the others alone', async () => {
    const bad = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    const good = await addDestination(t.db, { url: `http://127.0.0.1:${receiver.port}/good` })
    await breakDown(bad)
    answerWith(204)
    await addBacklog(t.db, good, 5)
    expect(await runDue()).toBe(5)
  })
})

/** One attempt on each of these days, from the first of the test on, refused. */
async function failOnDays(destinationId: string, days: readonly number[]): Promise<void> {
  await t.db.rows(sql`select auth.ensure_days(current_date, current_date + 15)`)
  answerWith(500)
  for (const day of days) {
    await moveClock(t.db, clock, day * 86_400_000)
    await t.db.rows(sql`truncate auth.deliveries`)
    await addDelivery(t.db, destinationId, await addEvent(t.db))
    expect(await runDue()).toBe(1)
  }
}

describe('the end of a destination', () => {
  test('DO-14 F12 410 disables it: told, audited, everything kept, and nothing sent any more', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    answerWith(410)
    expect(await runDue()).toBe(1)
    expect(await destination(here)).toMatchObject({ disabled_at: expect.any(Date), disabled_reason: 'gone' })
    expect(await told()).toMatchObject([
      { type: 'destination.v1.disabled', subject: `destinations/${here}`, data: { reason: 'gone' } },
    ])
    expect(
      await t.db.rows(sql`select actor, action, subject, detail from auth.audit where subject = ${here}`),
    ).toEqual([
      { actor: 'system', action: 'destination.disabled', subject: here, detail: { reason: 'gone' } },
    ])
    await addBacklog(t.db, here, 3)
    await t.db.rows(sql`update auth.deliveries set due_at = auth.clock() - interval '1 second'`)
    expect(await runDue()).toBe(0)
    expect(await t.db.one(sql`select state, attempts from auth.deliveries where id = ${id}`)).toEqual({
      state: 'open',
      attempts: 1,
    })
    // an administrator turns it on again: what waited goes
    await t.db.rows(sql`update auth.destinations set disabled_at = null, disabled_reason = null`)
    answerWith(204)
    expect(await runDue()).toBe(4)
  })

  test('DO-14 five days without a success disable it; a success in between begins anew', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 50 })
    const days = (n: number) => moveClock(t.db, clock, n * 86_400_000)
    const tryNow = async () => {
      await addDelivery(t.db, here, await addEvent(t.db))
      await t.db.rows(
        sql`update auth.destinations set probe_at = case when breaker = 'open' then auth.clock() end`,
      )
      return runDue(1)
    }
    await t.db.rows(sql`select auth.ensure_days(current_date, current_date + 15)`)
    answerWith(500)
    await tryNow()
    await days(3)
    await tryNow()
    expect(await destination(here)).toMatchObject({ failing_since: expect.any(Date), disabled_at: null })
    await t.db.rows(sql`truncate auth.deliveries`)
    answerWith(204)
    await tryNow()
    expect(await destination(here)).toMatchObject({ failing_since: null })
    answerWith(500)
    await tryNow()
    for (const n of [4, 5, 6, 7, 7.9]) {
      await days(n)
      await tryNow()
    }
    expect(await destination(here)).toMatchObject({ disabled_at: null })
    await days(8.1)
    await tryNow()
    expect(await destination(here)).toMatchObject({ disabled_reason: 'failing' })
    expect(await types()).toEqual([
      'destination.v1.failing',
      'destination.v1.recovered',
      'destination.v1.failing',
      'destination.v1.disabled',
    ])
  })

  test('DO-14 turned on again after a disabling, one failure does not disable it again', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    await failOnDays(here, [0, 2, 3, 4, 5, 5.5])
    expect(await destination(here)).toMatchObject({ disabled_reason: 'failing' })
    await moveClock(t.db, clock, 6 * 86_400_000)
    await resumeDestination(t.db, here)
    await failOnDays(here, [6.5])
    expect(await destination(here)).toMatchObject({ disabled_at: null })
  })

  test.each([
    ['a pause', (id: string) => pauseDestination(t.db, id, 'test').then(() => resumeDestination(t.db, id))],
    ['another address', (id: string) => setDestinationColumns(t.db, id, { url: `${receiver.url}/moved` })],
  ] as const)('DO-14 what failed before %s counts no more, and success is told after it', async (_, act) => {
    const here = await addDestination(t.db, { url: receiver.url })
    await failOnDays(here, [0, 1, 2, 3, 4, 4.5])
    expect(await destination(here)).toMatchObject({ failing_since: expect.any(Date), disabled_at: null })
    await moveClock(t.db, clock, 6 * 86_400_000)
    await act(here)
    await failOnDays(here, [6.5])
    expect(await destination(here)).toMatchObject({ disabled_at: null })
    answerWith(204)
    await t.db.rows(sql`update auth.deliveries set due_at = auth.clock()`)
    await runDue()
    expect(await types()).toEqual(['destination.v1.failing', 'destination.v1.recovered'])
  })

  test('DO-14 a quiet destination that refuses two events a week apart is told of, not disabled', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    await failOnDays(here, [0, 6])
    expect(await destination(here)).toMatchObject({ failing_since: expect.any(Date), disabled_at: null })
    expect(await types()).toEqual(['destination.v1.failing'])
  })
})

describe('what is told of a destination', () => {
  test('it is told to others, never to itself', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const watcher = await addDestination(t.db, { url: `http://127.0.0.1:${receiver.port}/watcher` })
    await ruleFor(here)
    await ruleFor(watcher)
    await addDelivery(t.db, here, await addEvent(t.db))
    answerWith(410)
    await runDue()
    const rows = await t.db.rows<{ destination_id: string }>(sql`
      select w.destination_id from auth.deliveries w join auth.events e on e.id = w.event_id
       where e.type = 'ca.flovify.destination.v1.disabled'`)
    expect(rows).toEqual([{ destination_id: watcher }])
  })

  test('DO-10 a death is told with its reason, without the address', async () => {
    const here = await addDestination(t.db, { url: `${receiver.url}/secret-path` })
    const event = await addEvent(t.db)
    const id = await addDelivery(t.db, here, event)
    await t.db.rows(sql`update auth.deliveries set attempts = 9`)
    answerWith(500)
    await runDue()
    const [telling] = await told()
    expect(telling).toMatchObject({
      type: 'destination.v1.exhausted',
      subject: `destinations/${here}`,
      data: {
        destination: { id: here, name: `to ${here}` },
        delivery: id,
        event: event.id,
        attempts: 10,
        reason: 'exhausted',
      },
    })
    expect(JSON.stringify(telling)).not.toContain('secret-path')
    expect(await t.db.one(sql`select state, reason, dead_at from auth.deliveries where id = ${id}`)).toEqual({
      state: 'dead',
      reason: 'exhausted',
      dead_at: expect.any(Date),
    })
  })

  test('two destinations that are told of each other do not feed themselves: the death of such an event is not told', async () => {
    const one = await addDestination(t.db, { url: receiver.url })
    const two = await addDestination(t.db, { url: `http://127.0.0.1:${receiver.port}/two` })
    await ruleFor(one)
    await ruleFor(two)
    await addDelivery(t.db, one, await addEvent(t.db))
    answerWith(500)
    for (let round = 0; round < 4; round += 1) {
      await t.db.rows(
        sql`update auth.deliveries set attempts = 9, due_at = auth.clock() where due_at is not null`,
      )
      await runDue()
    }
    expect(await types()).toEqual(['destination.v1.exhausted'])
    expect(await t.db.rows(sql`select 1 from auth.deliveries where state = 'dead'`)).toHaveLength(2)
  })

  test('RE-07 poison is told and kept; its neighbours are delivered', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const poison = await addDelivery(t.db, here, await addEvent(t.db), -5_000)
    await t.db.rows(sql`update auth.deliveries set claims = 3`)
    for (let i = 0; i < 5; i += 1) await addDelivery(t.db, here, await addEvent(t.db))
    const worker = openWorker({ db: t.db, log, metrics }, [kind()])
    worker.start()
    await expect
      .poll(() => t.db.rows(sql`select id, state, reason from auth.deliveries`), { timeout: 10_000 })
      .toEqual([{ id: poison, state: 'dead', reason: 'poison' }])
    await worker.drain(1_000)
    expect(receiver.requests).toHaveLength(5)
    expect(await told()).toMatchObject([{ type: 'destination.v1.exhausted', data: { reason: 'poison' } }])
  })
})
