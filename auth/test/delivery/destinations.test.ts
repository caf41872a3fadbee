import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { CANCELLED_AT_ONCE, cancelLeftovers } from '../../src/delivery/cancel.ts'
import { type Destinations, destinationContext, openDestinations } from '../../src/delivery/destinations.ts'
import { openEgress } from '../../src/delivery/egress.ts'
import { claimDueDeliveries } from '../../src/delivery/store.ts'
import { insertRecording } from '../../src/ledger/store.ts'
import { newId } from '../../src/platform/ids.ts'
import { openRuleBook } from '../../src/routing/rule-book.ts'
import { openRules, type Rules } from '../../src/routing/rules.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { SPECIAL_ADDRESSES } from './special-addresses.ts'
import { addBacklog, addDelivery, addEvent, deliveredOne, vault } from './world.ts'

let t: TestDatabase
let destinations: Destinations
let rules: Rules
let matched: () => readonly { destinationId: string }[]
let answer = '93.184.215.14'
const egress = openEgress({
  allow: [
    { host: '127.0.0.1', port: 4100, pathPrefix: '/hook' },
    { host: '127.0.0.1', port: 4200, pathPrefix: '/hook' },
  ],
  lookup: async () => [{ address: answer, family: answer.includes(':') ? 6 : 4 }],
})

beforeAll(async () => {
  t = await testDatabase()
})
afterAll(async () => {
  await egress.close()
  await t.close()
})
beforeEach(async () => {
  answer = '93.184.215.14'
  await t.db.rows(
    sql`truncate auth.rules, auth.destinations, auth.deliveries, auth.delivery_outcomes, auth.attempts, auth.audit`,
  )
  const book = await openRuleBook(t.db)
  rules = openRules({ db: t.db, book })
  matched = () => book.current().match({ type: 'mail.mailbox.v1.notified' })
  destinations = openDestinations({
    db: t.db,
    vault,
    egress,
    rules: {
      disableFor: rules.disableFor,
      ensureEverything: rules.ensureEverything,
      reload: book.reload,
    },
  })
})

async function create(): Promise<{ id: string; secret: string }> {
  const made = await destinations.create('user:1', { name: 'n', url: 'https://hook.example/in#x' })
  if (made.kind !== 'created') throw new Error(made.kind)
  return made
}

describe('a destination', () => {
  test('is made with a secret that is shown once and stands sealed in the database, bound to its row', async () => {
    const made = await create()
    expect(made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const row = await t.db.one<{ data_key: string; secret: string }>(
      sql`select * from auth.destinations where id = ${made.id}`,
    )
    if (row === undefined) throw new Error('no row')
    expect(row).toMatchObject({
      url: 'https://hook.example/in',
      concurrency: 10,
      rate_per_second: null,
      timeout_ms: 15_000,
    })
    expect(JSON.stringify(row)).not.toContain(made.secret.slice(6))
    const opened = vault.open(row.data_key, destinationContext(made.id)).unseal('secret', row.secret)
    expect(opened.reveal()).toBe(made.secret)
    expect(() => vault.open(row.data_key, destinationContext(newId('dst')))).toThrow()
    expect(JSON.stringify(await destinations.list())).not.toMatch(
      /"(?:secret|headers|previous_secret)"|whsec_/,
    )
    const audit = await t.db.rows(sql`select actor, action, subject, detail from auth.audit`)
    expect(audit).toEqual([
      {
        actor: 'user:1',
        action: 'destination.created',
        subject: made.id,
        detail: { kind: 'http', name: 'n', host: 'hook.example', headers: '' },
      },
    ])
  })

  test('DO-01 is not saved when its name resolves to any of the special addresses', async () => {
    for (const address of SPECIAL_ADDRESSES) {
      answer = address
      expect(await destinations.create('user:1', { name: 'n', url: 'https://hook.example/' })).toEqual({
        kind: 'egress_refused',
        reason: 'special_address',
      })
    }
    expect(await t.db.rows(sql`select 1 from auth.destinations`)).toEqual([])
  })

  test('when deleted has its rules off, its open and dead deliveries cancelled, and its secret gone', async () => {
    const made = await create()
    const other = await create()
    for (const { id } of [made, other]) await rules.create('user:1', { name: 'r', destinationId: id })
    const event = await addEvent(t.db)
    const ids = [await addDelivery(t.db, made.id, event), await addDelivery(t.db, made.id, event)]
    const kept = await addDelivery(t.db, other.id, event)
    await t.db.rows(
      sql`update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock() where id = ${ids[1] ?? ''}`,
    )
    expect(await destinations.remove('user:1', made.id)).toBe(true)
    expect(matched().map((match) => match.destinationId)).toEqual([other.id])
    expect(await t.db.rows(sql`select id from auth.deliveries`)).toEqual([{ id: kept }])
    const outcomes = await t.db.rows<{ id: string }>(
      sql`select id, state, reason from auth.delivery_outcomes order by id`,
    )
    expect(outcomes).toEqual(
      ids.sort().map((id) => ({ id, state: 'cancelled', reason: 'destination_deleted' })),
    )
    expect(await t.db.one(sql`select data_key, secret from auth.destinations where id = ${made.id}`)).toEqual(
      { data_key: '', secret: '' },
    )
    expect((await destinations.list()).map((row) => row.id)).toEqual([other.id])
    expect(await destinations.remove('user:1', made.id)).toBe(false)
    expect(await destinations.remove('user:1', newId('dst'))).toBe(false)
  })

  test('when deleted with a large backlog is gone at once; the rest is cancelled chunk by chunk, each at a time of its own', async () => {
    const [made, other] = [await create(), await create()]
    await addBacklog(t.db, made.id, CANCELLED_AT_ONCE + 2_000)
    await addBacklog(t.db, other.id, 3)
    await t.db.rows(sql`
      update auth.deliveries set state = 'dead', due_at = null, dead_at = auth.clock()
       where id in (select id from auth.deliveries where destination_id = ${made.id} limit 1500)`)
    const counted = () =>
      t.db.one<{ left: number; kept: number; cancelled: number; times: number }>(sql`
        select (select count(*)::int from auth.deliveries where destination_id = ${made.id}) as left,
               (select count(*)::int from auth.deliveries where destination_id = ${other.id}) as kept,
               (select count(*)::int from auth.delivery_outcomes where state = 'cancelled') as cancelled,
               (select count(distinct finished_at)::int from auth.delivery_outcomes) as times`)
    expect(await destinations.remove('user:1', made.id)).toBe(true)
    const once = { kept: 3, cancelled: CANCELLED_AT_ONCE, times: CANCELLED_AT_ONCE }
    expect(await counted()).toEqual({ left: 2_000, ...once })
    expect(
      await t.db.one(
        sql`select detail from auth.audit where action = 'destination.deleted' and subject = ${made.id}`,
      ),
    ).toEqual({ detail: { cancelled: CANCELLED_AT_ONCE + 2_000 } })
    expect(await cancelLeftovers(t.db)).toBe(2_000)
    const all = CANCELLED_AT_ONCE + 2_000
    expect(await counted()).toEqual({ left: 0, kept: 3, cancelled: all, times: all })
    expect(await cancelLeftovers(t.db)).toBe(0)
  })

  test('when deleted waits for ingest that is storing deliveries for it, and cancels those too', async () => {
    const made = await create()
    const recordedAt = new Date()
    const event = {
      id: newId('evt'),
      notification_id: null,
      connection_id: null,
      owner_id: null,
      provider: null,
      type: 'ca.flovify.mail.mailbox.v1.notified',
      origin_type: null,
      source: 'https://hooks.example/mail',
      subject: null,
      time: null,
      data: Buffer.from('{}'),
      scope: 'test',
      identity: null,
    }
    const revision = await t.db.one<{ revision: string }>(sql`select revision from auth.rule_revision`)
    let removing: Promise<boolean> | undefined
    await t.db.transaction(async (ingest) => {
      const recorded = await insertRecording(ingest, revision?.revision ?? '', {
        recordedAt,
        notifications: [],
        events: [event],
        deliveries: [
          {
            id: newId('dlv'),
            event_id: event.id,
            destination_id: made.id,
            rule_id: 'rul_test',
          },
        ],
      })
      expect(recorded.deliveries).toBe(1)
      removing = destinations.remove('user:1', made.id)
      await new Promise((resolve) => setTimeout(resolve, 200))
    })
    expect(await removing).toBe(true)
    expect(await t.db.rows(sql`select 1 from auth.deliveries`)).toEqual([])
    expect(await t.db.rows(sql`select state from auth.delivery_outcomes`)).toEqual([{ state: 'cancelled' }])
  })

  test('when deleted while a delivery is on the way, the late answer settles nothing', async () => {
    const made = await create()
    await addDelivery(t.db, made.id, await addEvent(t.db))
    const [row] = await claimDueDeliveries(t.db, { id: randomUUID(), seconds: 30, limit: 1 })
    if (row === undefined) throw new Error('nothing claimed')
    await destinations.remove('user:1', made.id)
    const attempt = { startedAt: new Date(), durationMs: 1, status: 200, error: null }
    expect(await deliveredOne(t.db, row, attempt)).toBe(false)
    expect(await t.db.rows(sql`select state from auth.delivery_outcomes`)).toEqual([{ state: 'cancelled' }])
  })
})

describe('the local destination', () => {
  const url = 'http://127.0.0.1:4100/hook'

  test('is the same for everybody who asks at the same time, and later, with one rule for everything', async () => {
    const first = await Promise.all(
      Array.from({ length: 6 }, () => destinations.ensureLocal(url, 'receiver')),
    )
    const again = await destinations.ensureLocal(url, 'receiver')
    for (const answered of first) expect(answered).toEqual(again)
    expect(again.kind).toBe('ready')
    expect(await t.db.rows(sql`select 1 from auth.destinations`)).toHaveLength(1)
    expect(await t.db.rows(sql`select 1 from auth.rules`)).toHaveLength(1)
    expect(matched()).toHaveLength(1)
  })

  test('follows its receiver to another URL and keeps id and secret', async () => {
    const before = await destinations.ensureLocal(url, 'receiver')
    const after = await destinations.ensureLocal('http://127.0.0.1:4200/hook', 'receiver')
    expect(after).toEqual(before)
    expect((await destinations.list()).map((row) => row.url)).toEqual(['http://127.0.0.1:4200/hook'])
  })

  test('DO-01 does not get around the guard', async () => {
    expect(await destinations.ensureLocal('http://127.0.0.1:4300/hook', 'receiver')).toEqual({
      kind: 'egress_refused',
      reason: 'special_address',
    })
    expect(await t.db.rows(sql`select 1 from auth.destinations`)).toEqual([])
  })
})
