import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import {
  type Ledger,
  type MatchedRules,
  type NewEvent,
  type NotificationToStore,
  openLedger,
} from '../../src/ledger/ledger.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('the ledger', () => {
  let t: TestDatabase
  let ledger: Ledger
  let reloads = 0
  let revision = '1'
  let now = new Date()
  const everything: MatchedRules['match'] = () => [{ ruleId: 'rul_all', destinationId: 'dst_all' }]

  beforeAll(async () => {
    t = await testDatabase()
    await t.db.rows(
      sql`insert into auth.destinations (id, name, url, data_key, secret) values ('dst_all', 'all', 'https://example.com', 'x', 'x')`,
    )
    ledger = openLedger({
      rules: {
        current: () => ({ revision, match: everything }),
        reload: async () => {
          reloads += 1
          revision =
            (await t.db.one<{ revision: string }>(sql`select revision from auth.rule_revision`))?.revision ??
            '0'
        },
      },
      clock: { now: () => now },
      naming: { typePrefix: 'ca.flovify', origin: 'https://webhooks.example.com' },
    })
    revision =
      (await t.db.one<{ revision: string }>(sql`select revision from auth.rule_revision`))?.revision ?? '0'
  })
  afterAll(() => t.close())
  beforeEach(async () => {
    await t.db.rows(sql`truncate auth.events, auth.event_keys, auth.deliveries, auth.notifications`)
    now = new Date()
    reloads = 0
  })

  const event = (identity?: string, more: Partial<NewEvent> = {}): NewEvent => ({
    type: 'mail.mailbox.v1.notified',
    area: 'mail',
    provider: 'google',
    connectionId: 'con_a',
    data: { n: 1 },
    ...(identity === undefined ? {} : { identity }),
    ...more,
  })
  const notification = (body: string | Buffer, ...events: NewEvent[]): NotificationToStore => ({
    provider: 'google',
    ref: null,
    receivedAt: now,
    headers: { 'content-type': ['application/json'] },
    body: Buffer.from(body),
    events,
  })
  const count = async (table: 'events' | 'deliveries' | 'notifications' | 'event_keys') =>
    Number(
      (
        (await t.db.one<{
          n: string
        }>(sql`select (select count(*) from auth.events) events, (select count(*) from auth.deliveries) deliveries,
      (select count(*) from auth.notifications) notifications, (select count(*) from auth.event_keys) event_keys`)) as
          | Record<string, string>
          | undefined
      )?.[table],
    )

  test('stores the bytes unchanged, one event and one delivery for each matching rule', async () => {
    const bytes = Buffer.from([0, 255, 128, 10, 0])
    expect(await ledger.store(t.db, [notification(bytes, event('a'))])).toEqual({
      newEvents: [{ provider: 'google', type: 'mail.mailbox.v1.notified', count: 1 }],
      duplicates: new Map(),
      deliveries: 1,
    })
    const stored = await t.db.one<{ body: Buffer; body_sha256: Buffer }>(
      sql`select body, body_sha256 from auth.notifications`,
    )
    expect(stored?.body.equals(bytes)).toBe(true)
    expect(stored?.body_sha256.equals(sha256(bytes))).toBe(true)
    const row = await t.db.one<{ id: string; data: Buffer; type: string }>(
      sql`select e.id, e.data, e.type from auth.events e join auth.deliveries d on d.event_id = e.id`,
    )
    expect(JSON.parse(row?.data.toString() ?? '')).toMatchObject({
      specversion: '1.0',
      id: row?.id,
      type: 'ca.flovify.mail.mailbox.v1.notified',
      source: 'https://webhooks.example.com/connections/con_a/mail',
      provider: 'google',
      data: { n: 1 },
    })
  })

  test('WI-04 one fact is one event: twice in a group, ten groups at once, later again, with the same id', async () => {
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        ledger.store(t.db, [
          notification(`${i}`, event('same'), event('same')),
          notification('x', event(`other-${i}`)),
        ]),
      ),
    )
    await ledger.store(t.db, [notification('later', event('same'))])
    expect(await count('event_keys')).toBe(11)
    expect(await count('events')).toBe(11)
    expect(await count('deliveries')).toBe(11)
    const [id] = await t.db.rows<{ event_id: string }>(
      sql`select event_id from auth.event_keys where identity = ${sha256('same')}`,
    )
    await t.db.rows(sql`truncate auth.events, auth.event_keys, auth.deliveries`)
    await ledger.store(t.db, [notification('restored', event('same'))])
    expect(await t.db.one(sql`select event_id from auth.event_keys`)).toEqual(id)
  })

  test('what is new and duplicates are counted for the provider that repeated them, also in a mixed group and within it', async () => {
    const ofMicrosoft = (identity: string) =>
      event(identity, { provider: 'microsoft', connectionId: 'con_m' })
    await ledger.store(t.db, [notification('1', event('g')), notification('2', ofMicrosoft('m'))])
    const stored = await ledger.store(t.db, [
      notification('3', event('g-new')),
      notification('4', ofMicrosoft('m'), ofMicrosoft('m-new'), ofMicrosoft('m-new')),
    ])
    expect(stored).toMatchObject({ duplicates: new Map([['microsoft', 2]]), deliveries: 2 })
    const type = 'mail.mailbox.v1.notified'
    expect(stored.newEvents.toSorted((a, b) => `${a.provider}`.localeCompare(`${b.provider}`))).toEqual([
      { provider: 'google', type, count: 1 },
      { provider: 'microsoft', type, count: 1 },
    ])
  })

  test('the same identity in two connections is two events; without an identity everything is new', async () => {
    await ledger.store(t.db, [
      notification('1', event('x'), event('x', { connectionId: 'con_b' }), event(), event()),
    ])
    expect(await count('events')).toBe(4)
  })

  test('groups that share keys in opposite order do not deadlock', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `key-${i}`)
    const group = (order: string[]) => order.map((name) => notification(name, event(name)))
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        ledger.store(t.db, group(i % 2 === 0 ? names : names.toReversed())),
      ),
    )
    expect(await count('events')).toBe(40)
  })

  test('keys are locked in one order, whatever the order of a group: two that meet at a third do not deadlock', async () => {
    const [low, middle, high] = ['one', 'two', 'three'].sort((a, b) => Buffer.compare(sha256(a), sha256(b)))
    if (low === undefined || middle === undefined || high === undefined) throw new Error('three names')
    const stored: Promise<unknown>[] = []
    const isLetGo = new Error('let go')
    const holding = t.db.transaction(async (tx) => {
      await tx.rows(
        sql`insert into auth.event_keys (scope, identity, event_id, recorded_at) values ('con_a', ${sha256(middle)}, 'evt_x', now())`,
      )
      for (const order of [
        [low, middle, high],
        [high, middle, low],
      ])
        stored.push(ledger.store(t.db, [notification('all', ...order.map((name) => event(name)))]))
      const waiting = () =>
        t.db.rows(sql`
          select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
      await expect.poll(async () => (await waiting()).length, { timeout: 10_000, interval: 10 }).toBe(2)
      throw isLetGo
    })
    await expect(holding).rejects.toBe(isLetGo)
    await Promise.all(stored)
    expect(await count('events')).toBe(3)
  })

  test('a change of rules after matching inserts nothing, is reloaded and matched again', async () => {
    await t.db.rows(sql`update auth.rule_revision set revision = revision + 1`)
    await ledger.store(t.db, [notification('x', event('r'))])
    expect(reloads).toBe(1)
    expect(await count('events')).toBe(1)
    expect(await count('deliveries')).toBe(1)
    expect(await count('notifications')).toBe(1)
  })

  test('a missing day is made on demand, also inside a transaction of another room', async () => {
    now = new Date('2031-05-06T07:08:09Z')
    await ledger.store(t.db, [notification('jump', event('j'))])
    now = new Date('2032-05-06T07:08:09Z')
    await t.db.transaction(async (tx) => {
      await tx.rows(sql`insert into auth.users (email) values ('kept@example.com')`)
      await ledger.record(tx, [event('k')])
    })
    expect(await count('events')).toBe(2)
    expect(await t.db.rows(sql`select 1 from auth.users where email = 'kept@example.com'`)).toHaveLength(1)
  })

  test('an event recorded in a transaction that fails does not exist, nor does its delivery', async () => {
    await expect(
      t.db.transaction(async (tx) => {
        await ledger.record(tx, [event('gone')])
        throw new Error('the room changed its mind')
      }),
    ).rejects.toThrow('changed its mind')
    expect(await count('events')).toBe(0)
    expect(await count('deliveries')).toBe(0)
  })

  test('an event belongs to the owner of its connection', async () => {
    await t.db.rows(
      sql`insert into auth.oauth_tokens (id, owner_id, provider, account_key, account_label, status) values ('con_owned', '42', 'google', 'k', 'label', 'active')`,
    )
    await ledger.store(t.db, [notification('x', event('o', { connectionId: 'con_owned' }))])
    expect(await t.db.one(sql`select owner_id from auth.events`)).toEqual({ owner_id: '42' })
  })
})
