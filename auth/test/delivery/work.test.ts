import { randomUUID } from 'node:crypto'
import type { Secret } from '@flovify/providers'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { destinationContext } from '../../src/delivery/destination-attempt.ts'
import { type Egress, openEgress } from '../../src/delivery/egress.ts'
import { settleAgain } from '../../src/delivery/settle-again.ts'
import { newSigningSecret } from '../../src/delivery/signature.ts'
import { claimDueDeliveries } from '../../src/delivery/store.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
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
  vault,
} from './world.ts'

let t: TestDatabase
let receiver: Receiver
let egress: Egress
let ledger: Ledger
beforeAll(async () => {
  t = await testDatabase()
  ;({ ledger } = await ledgerOn(t.db))
})
afterAll(() => t.close())
beforeEach(async () => {
  await t.db.rows(
    sql`truncate auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.rules, auth.destinations`,
  )
  receiver = await startReceiver()
  egress = openEgress({ allow: [{ host: '127.0.0.1', port: receiver.port, pathPrefix: '/hook' }] })
})
afterEach(async () => {
  await egress.close()
  await receiver.close()
  await moveClock(t.db, clock, 0)
})

const clock = systemClock()
const { log, lines } = capturedLog()
const metrics = openMetrics()
const kind = () => deliveryWorkOn({ db: t.db, egress, ledger, clock, metrics, log, version: '1.2.3' })
/** Claims what is due and runs it, as the worker's loop does. */
async function runDue(): Promise<number> {
  const work = kind()
  const rows = await work.claim(t.db, { id: randomUUID(), seconds: 30, limit: 100 })
  await Promise.all(rows.map((row) => work.run(row, new AbortController().signal)))
  return rows.length
}
const makeDue = () =>
  t.db.rows(sql`update auth.deliveries set due_at = auth.clock() where due_at is not null`)
const delivery = (id: string) => t.db.one(sql`select * from auth.deliveries where id = ${id}`)
const outcome = (id: string) => t.db.one(sql`select * from auth.delivery_outcomes where id = ${id}`)
const attempts = (id: string) =>
  t.db.rows<{ number: number; outcome: string; status: number | null; error: string | null }>(
    sql`select number, outcome, status, error from auth.attempts where delivery_id = ${id} order by number`,
  )

describe('a delivery', () => {
  test('DO-04 carries the stored bytes and headers that the standardwebhooks package verifies', async () => {
    const secret = newSigningSecret()
    const here = await addDestination(t.db, { url: receiver.url, secret })
    const data = Buffer.from('{ "id":"x",\t"data":{"text":"Grüße \\u0000 \u{1F600}"} }\n')
    const event = await addEvent(t.db, { data })
    const id = await addDelivery(t.db, here, event)
    expect(await runDue()).toBe(1)
    const [request] = receiver.requests
    if (request === undefined) throw new Error('nothing arrived')
    expect(request).toMatchObject({ method: 'POST', path: '/hook' })
    expect(request.body.equals(data)).toBe(true)
    expect(request.headers).toMatchObject({
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'user-agent': 'FlovifyConnect/1.2.3',
      'content-length': String(data.length),
      'webhook-id': event.id,
    })
    const headers = {
      'webhook-id': String(request.headers['webhook-id']),
      'webhook-timestamp': String(request.headers['webhook-timestamp']),
      'webhook-signature': String(request.headers['webhook-signature']),
    }
    expect(new Webhook(secret.reveal()).verify(request.body, headers)).toMatchObject({ id: 'x' })
    expect(await delivery(id)).toBeUndefined()
    expect(await outcome(id)).toMatchObject({ state: 'delivered', attempts: 1 })
    expect(await attempts(id)).toEqual([{ number: 1, outcome: 'delivered', status: 204, error: null }])
  })

  test('DO-04 keeps its webhook-id over all attempts while each has a fresh timestamp that verifies', async () => {
    const secret = newSigningSecret()
    const here = await addDestination(t.db, { url: receiver.url, secret })
    const event = await addEvent(t.db)
    const id = await addDelivery(t.db, here, event)
    receiver.answer = (_request, response) => response.writeHead(500).end('a text from outside')
    const webhook = new Webhook(secret.reveal())
    for (let minute = 0; minute < 4; minute += 1) {
      await moveClock(t.db, clock, minute * 60_000)
      if (minute === 3) receiver.answer = (_request, response) => response.writeHead(200).end()
      await makeDue()
      expect(await runDue()).toBe(1)
    }
    const stamps = receiver.requests.map((request) => Number(request.headers['webhook-timestamp']))
    for (const [minute, request] of receiver.requests.entries()) {
      expect(request.headers['webhook-id']).toBe(event.id)
      webhook.verify(request.body, request.headers as Record<string, string>)
      expect(Math.abs((stamps[minute] ?? 0) - (Date.now() / 1000 + minute * 60))).toBeLessThan(20)
    }
    expect(new Set(stamps).size).toBe(4)
    expect((await attempts(id)).map((row) => row.error)).toEqual([
      'status_500',
      'status_500',
      'status_500',
      null,
    ])
  })

  test('DO-07 is dead after the tenth failure with its reason, and never claimed again', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(503).end()
    for (let tries = 1; tries <= 10; tries += 1) {
      expect(await delivery(id)).toMatchObject({ state: 'open', attempts: tries - 1 })
      await makeDue()
      expect(await runDue()).toBe(1)
    }
    expect(await delivery(id)).toMatchObject({
      state: 'dead',
      reason: 'exhausted',
      due_at: null,
      lease_id: null,
      attempts: 10,
    })
    expect((await attempts(id)).map((row) => row.number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    await makeDue()
    expect(await runDue()).toBe(0)
    expect(receiver.requests).toHaveLength(10)
  })

  test('DO-07 a destination’s own plan and statuses are followed: an answer that is not worth another try is a death', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    await t.db.rows(
      sql`update auth.destinations set retry_schedule = array[100, 200], retry_statuses = array[503]`,
    )
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(503).end()
    await runDue()
    const ahead = await t.db.one<{ ahead: number }>(
      sql`select extract(epoch from due_at - auth.clock())::float as ahead from auth.deliveries`,
    )
    expect(Math.round(ahead?.ahead ?? 0)).toBe(50)
    await makeDue()
    await runDue()
    await makeDue()
    await runDue()
    expect(await delivery(id)).toMatchObject({ state: 'dead', reason: 'exhausted', attempts: 3 })
    const other = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(422).end()
    await runDue()
    expect(await delivery(other)).toMatchObject({ state: 'dead', reason: 'rejected', attempts: 1 })
    const third = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.socket?.destroy()
    await runDue()
    expect(await delivery(third)).toMatchObject({ state: 'open', attempts: 1 })
  })

  test('DO-07 the first retry is due within five seconds', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(500).end()
    await runDue()
    const row = await t.db.one<{ ahead: number }>(
      sql`select extract(epoch from due_at - auth.clock())::float as ahead from auth.deliveries`,
    )
    expect(row?.ahead).toBeGreaterThan(0)
    expect(row?.ahead).toBeLessThanOrEqual(5)
  })

  test('DO-07 Retry-After is honoured', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(429, { 'retry-after': '1800' }).end()
    await runDue()
    const row = await t.db.one<{ ahead: number }>(
      sql`select extract(epoch from due_at - auth.clock())::float as ahead from auth.deliveries`,
    )
    expect(row?.ahead).toBeGreaterThan(1_780)
    expect(row?.ahead).toBeLessThanOrEqual(1_800)
  })

  test.each([301, 302, 303, 307, 308])('DO-03 a %d is a failed attempt called redirect', async (status) => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) => response.writeHead(status, { location: '/hook/else' }).end()
    await runDue()
    expect(await attempts(id)).toEqual([{ number: 1, outcome: 'failed', status, error: 'redirect' }])
    expect(receiver.requests).toHaveLength(1)
  })

  test('DO-01 a destination that the guard refuses fails with the reason of the refusal and is tried again by the schedule', async () => {
    const here = await addDestination(t.db, { url: `http://127.0.0.1:${receiver.port}/other` })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    await runDue()
    expect(await attempts(id)).toEqual([
      { number: 1, outcome: 'failed', status: null, error: 'egress_special_address' },
    ])
    expect(await delivery(id)).toMatchObject({ state: 'open', attempts: 1 })
    expect(receiver.connections).toBe(0)
  })

  test('a slow receiver is a timeout at the destination’s own limit', async () => {
    const here = await addDestination(t.db, { url: receiver.url, timeoutMs: 200 })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = () => {}
    await runDue()
    expect(await attempts(id)).toEqual([{ number: 1, outcome: 'failed', status: null, error: 'timeout' }])
  })

  test('a secret that the vault cannot open costs a try, not the delivery, and sends nothing', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const another = await addDestination(t.db, { url: receiver.url })
    // a swapped secret: sealed for another row
    await t.db.rows(sql`
      update auth.destinations d set secret = a.secret, data_key = a.data_key from auth.destinations a
       where d.id = ${here} and a.id = ${another}`)
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    await runDue()
    expect(await attempts(id)).toEqual([{ number: 1, outcome: 'failed', status: null, error: 'vault_error' }])
    expect(receiver.requests).toEqual([])
  })

  test('one whose event is past retention expires and is counted; one of a deleted destination is cancelled; nothing is sent', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const gone = await addDestination(t.db, { url: receiver.url })
    const event = await addEvent(t.db)
    const expired = await addDelivery(t.db, here, { id: event.id, at: new Date(event.at.getTime() - 60_000) })
    await t.db.rows(sql`update auth.destinations set deleted_at = auth.clock() where id = ${gone}`)
    const cancelled = await addDelivery(t.db, gone, event)
    expect(await runDue()).toBe(2)
    expect(await outcome(expired)).toMatchObject({ state: 'expired', reason: 'event_gone', attempts: 0 })
    expect((await metrics.page()).body).toContain(
      `flovify_deliveries_total{destination="${here}",outcome="expired"} 1`,
    )
    expect(await outcome(cancelled)).toMatchObject({ state: 'cancelled', reason: 'destination_deleted' })
    expect(receiver.requests).toEqual([])
  })

  test('RE-02 an answer that comes after the lease went to another settles nothing', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    const lease = { id: randomUUID(), seconds: 30, limit: 10 }
    const [row] = await claimDueDeliveries(t.db, lease)
    if (row === undefined) throw new Error('nothing claimed')
    await t.db.rows(sql`update auth.deliveries set lease_id = ${randomUUID()}::uuid`)
    await kind().run(row, new AbortController().signal)
    expect(receiver.requests).toHaveLength(1)
    expect(await delivery(id)).toMatchObject({ state: 'open', attempts: 0 })
    expect(await attempts(id)).toEqual([])
  })

  test('RE-02 what was received once is not sent again because writing it down failed: that is tried again', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    // a sequence counts tries that were rolled back, too
    await t.db.rows(sql`create sequence auth.tries`)
    await t.db.rows(sql`
      create function auth.refuse_twice() returns trigger language plpgsql as $$
      begin
        if nextval('auth.tries') <= 2 then raise exception 'too slow' using errcode = '57014'; end if;
        return new;
      end $$`)
    await t.db.rows(
      sql`create trigger refuse before insert on auth.delivery_outcomes for each row execute function auth.refuse_twice()`,
    )
    try {
      expect(await runDue()).toBe(1)
    } finally {
      await t.db.rows(sql`drop trigger refuse on auth.delivery_outcomes`)
    }
    expect(await t.db.one(sql`select last_value::int as tries from auth.tries`)).toEqual({ tries: 3 })
    expect(receiver.requests).toHaveLength(1)
    expect(await outcome(id)).toMatchObject({ state: 'delivered', attempts: 1 })
    expect(await attempts(id)).toHaveLength(1)
  })

  test('a result whose lease was lost, or whose process ends, is not tried again', async () => {
    const cut = new AbortController()
    let tries = 0
    const settling = settleAgain(async () => {
      tries += 1
      if (tries === 2) cut.abort()
      throw new Error('away')
    }, cut.signal)
    await expect(settling).rejects.toThrow('away')
    expect(tries).toBe(2)
  })

  test('cut off by the worker, it is left to its lease', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = () => {}
    const work = kind()
    const [row] = await work.claim(t.db, { id: randomUUID(), seconds: 30, limit: 10 })
    if (row === undefined) throw new Error('nothing claimed')
    const cut = new AbortController()
    const running = work.run(row, cut.signal)
    await expect.poll(() => receiver.requests.length).toBe(1)
    cut.abort()
    await running
    expect(await delivery(id)).toMatchObject({ state: 'open', attempts: 0, lease_id: row.lease_id })
    expect(await attempts(id)).toEqual([])
  })

  test('DO-09 whose worker died three times in it is dead as poison, by the worker’s own loop', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    for (let crash = 1; crash <= 3; crash += 1) {
      expect(await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 1 })).toHaveLength(1)
      await t.db.rows(sql`update auth.deliveries set lease_until = auth.clock() - interval '1 second'`)
    }
    const worker = openWorker({ db: t.db, log, metrics: openMetrics() }, [kind()])
    worker.start()
    await expect.poll(() => delivery(id)).toMatchObject({ state: 'dead', reason: 'poison', due_at: null })
    await worker.drain(1_000)
    expect(receiver.requests).toEqual([])
  })

  test('R9 two hundred to one receiver all arrive, never more at once than its concurrency', async () => {
    const here = await addDestination(t.db, { url: receiver.url, concurrency: 7 })
    await addBacklog(t.db, here, 200)
    let open = 0
    let most = 0
    receiver.answer = (_request, response) => {
      open += 1
      most = Math.max(most, open)
      setTimeout(() => {
        open -= 1
        response.writeHead(200).end()
      }, 3)
    }
    const worker = openWorker({ db: t.db, log, metrics: openMetrics() }, [kind()])
    worker.start()
    // a batch below the limit makes the loop wait; nudging is what ingest does
    const nudging = setInterval(() => worker.nudge('deliveries'), 10)
    await expect.poll(() => t.db.rows(sql`select 1 from auth.deliveries`), { timeout: 20_000 }).toEqual([])
    clearInterval(nudging)
    await worker.drain(1_000)
    expect(receiver.requests).toHaveLength(200)
    expect(most).toBeLessThanOrEqual(7)
    expect(await t.db.rows(sql`select 1 from auth.delivery_outcomes where state = 'delivered'`)).toHaveLength(
      200,
    )
  })

  test('no text from outside gets into a log line, and no secret into what is kept of the answer', async () => {
    const secret = newSigningSecret()
    const here = await addDestination(t.db, { url: `${receiver.url}/secret-path`, secret })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) =>
      response
        .writeHead(500, 'CANARY-reason', { 'x-echo': secret.reveal(), 'x-api-key': 'CANARY-key' })
        .end(`CANARY-body ${secret.reveal()} Bearer abcdefghijklmnop`)
    await runDue()
    expect(lines.length).toBeGreaterThan(0)
    const log = lines.join('')
    for (const word of ['CANARY', 'secret-path', secret.reveal(), secret.reveal().slice(6)])
      expect(log.includes(word), word).toBe(false)
    const kept = await t.db.one<{ h: string; b: string }>(sql`
      select convert_from(response_headers, 'UTF8') h, convert_from(response_body, 'UTF8') b from auth.attempts where delivery_id = ${id}`)
    expect(kept?.b).toBe('CANARY-body [redacted] [redacted]')
    expect(kept?.h).toContain('x-echo')
    for (const word of ['CANARY-key', secret.reveal(), secret.reveal().slice(6)])
      expect(kept?.h.includes(word), word).toBe(false)
  })

  test('no part of a secret is kept that crosses the border of what is kept', async () => {
    const secret = newSigningSecret()
    const here = await addDestination(t.db, { url: receiver.url, secret })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) =>
      response.writeHead(500).end(`${'b'.repeat(4_080)} ${secret.reveal().slice(6)}${' b'.repeat(5_000)}`)
    await runDue()
    const kept = await t.db.one<{ b: string }>(
      sql`select convert_from(response_body, 'UTF8') b from auth.attempts where delivery_id = ${id}`,
    )
    expect(kept?.b).toMatch(/^b+$/)
  })

  test('an attempt keeps its phases, headers and at most 4 KiB of the body, also of one that arrived', async () => {
    const here = await addDestination(t.db, { url: receiver.url })
    const id = await addDelivery(t.db, here, await addEvent(t.db))
    receiver.answer = (_request, response) =>
      response.writeHead(200, { 'x-told': 'yes' }).end('b'.repeat(9_000))
    await runDue()
    const row = await t.db.one<{ phases: Record<string, number>; h: string; length: number }>(sql`
      select phases, convert_from(response_headers, 'UTF8') h, length(response_body) from auth.attempts where delivery_id = ${id}`)
    expect(row?.phases).toMatchObject({ connectMs: expect.any(Number), firstByteMs: expect.any(Number) })
    expect(row?.phases.totalMs).toBeGreaterThanOrEqual(row?.phases.firstByteMs ?? Number.NaN)
    expect(JSON.parse(row?.h ?? '')).toMatchObject({ 'x-told': 'yes' })
    expect(row?.length).toBe(4096)
  })

  test('DO-04 while a secret is being replaced, a delivery verifies with either; later with the new one alone', async () => {
    const [before, now] = [newSigningSecret(), newSigningSecret()]
    const here = await addDestination(t.db, { url: receiver.url, secret: now })
    const sealed = await t.db.one<{ data_key: string }>(
      sql`select data_key from auth.destinations where id = ${here}`,
    )
    const previous = vault
      .open(sealed?.data_key ?? '', destinationContext(here))
      .seal('previous_secret', before)
    await t.db.rows(sql`
      update auth.destinations set previous_secret = ${previous}, previous_secret_until = auth.clock() + interval '1 hour'`)
    const verify = (secret: Secret) => {
      const request = receiver.requests.at(-1)
      if (request === undefined) throw new Error('nothing arrived')
      return new Webhook(secret.reveal()).verify(request.body, request.headers as Record<string, string>)
    }
    await addDelivery(t.db, here, await addEvent(t.db))
    await runDue()
    for (const secret of [before, now]) expect(verify(secret)).toMatchObject({ id: expect.any(String) })
    await t.db.rows(sql`update auth.destinations set previous_secret_until = auth.clock()`)
    await addDelivery(t.db, here, await addEvent(t.db))
    await runDue()
    expect(verify(now)).toMatchObject({ id: expect.any(String) })
    expect(() => verify(before)).toThrow()
  })
})
