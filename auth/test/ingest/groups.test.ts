/** Eight writers as eight processes would be: groups with shared keys on one database, some with an item it refuses. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { sql, sqlState } from '../../src/db/sql.ts'
import { type Commit, type GroupCommit, openGroupCommit } from '../../src/ingest/group-commit.ts'
import { type Ledger, type NotificationToStore, openLedger } from '../../src/ledger/ledger.ts'
import { openLog } from '../../src/platform/log.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

const WRITERS = 8
const ROUNDS = 20
const ITEMS = 160

interface Item {
  readonly body: string
  readonly key: string
  readonly poison: boolean
}

describe('groups of eight writers', () => {
  let t: TestDatabase
  let pools: Pool[]
  beforeAll(async () => {
    t = await testDatabase()
    await t.db.rows(
      sql`insert into auth.destinations (id, name, url, data_key, secret) values ('dst_all', 'all', 'https://example.com', 'x', 'x')`,
    )
    const log = openLog({ write: () => {} })
    pools = Array.from({ length: WRITERS }, () =>
      openPool({ url: t.url, name: 'ingest', size: 2, connectMs: 5_000, statementMs: 10_000, log }),
    )
  })
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.close()))
    await t.close()
  })

  test('WI-04 shared keys in any order and a poison item in every tenth group: no deadlock, only the poison is refused', async () => {
    const revision = await t.db.one<{ revision: string }>(sql`select revision from auth.rule_revision`)
    const ledger = openLedger({
      rules: {
        current: () => ({
          revision: revision?.revision ?? '0',
          match: () => [{ ruleId: 'rul_all', destinationId: 'dst_all' }],
        }),
        reload: () => Promise.reject(new Error('no rule changes here')),
      },
      clock: { now: () => new Date() },
      naming: { typePrefix: 'ca.flovify', origin: 'https://webhooks.example.com' },
    })
    const states: (string | undefined)[] = []
    const sizes: number[] = []
    const writers = pools.map((pool) => openWriter(pool, ledger, states, sizes))
    const all: { item: Item; commit: Commit }[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await Promise.all(
        writers.map((group, writer) => writeGroup(group, itemsOf(writer, round))),
      )
      all.push(...answers.flat())
    }
    await Promise.all(writers.map((group) => group.close()))

    expect(all).toHaveLength(WRITERS * ROUNDS * ITEMS)
    expect(sizes.filter((size) => size === ITEMS)).toHaveLength(WRITERS * ROUNDS)
    expect(states.filter((state) => state === '40P01' || state === '40001')).toEqual([])
    expect(all.filter(({ item }) => item.poison)).toHaveLength((WRITERS * ROUNDS) / 10)
    for (const { item, commit } of all) {
      expect([item.body, commit]).toEqual([item.body, item.poison ? 'poison' : 'stored'])
    }

    const wanted = all.filter(({ item }) => !item.poison).map(({ item }) => item)
    const bodies = await t.db.rows<{ body: Buffer }>(sql`select body from auth.notifications`)
    expect(bodies.map(({ body }) => body.toString()).sort()).toEqual(wanted.map(({ body }) => body).sort())
    const events = await t.db.rows<{ key: string; deliveries: string }>(sql`
      select e.subject as key, (select count(*) from auth.deliveries d where d.event_id = e.id) as deliveries from auth.events e`)
    expect(events.map(({ key }) => key).sort()).toEqual([...new Set(wanted.map(({ key }) => key))].sort())
    expect(new Set(events.map(({ deliveries }) => String(deliveries)))).toEqual(new Set(['1']))
  }, 90_000)
})

function openWriter(pool: Pool, ledger: Ledger, states: (string | undefined)[], sizes: number[]) {
  return openGroupCommit<NotificationToStore>({
    store: async (items) => {
      try {
        await ledger.store(pool, items)
      } catch (error) {
        states.push(sqlState(error))
        throw error
      }
    },
    sizeOf: (item) => item.body.length,
    groupSize: ITEMS,
    groupBytes: 4 * 1024 * 1024,
    flushers: 2,
    bufferItems: 4096,
    bufferBytes: 64 * 1024 * 1024,
    answerMs: 30_000,
    onGroup: (size) => sizes.push(size),
  })
}

async function writeGroup(
  group: GroupCommit<NotificationToStore>,
  items: readonly Item[],
): Promise<{ item: Item; commit: Commit }[]> {
  const commits = await Promise.all(items.map((item) => group.add(notificationOf(item))))
  return items.map((item, at) => ({ item, commit: commits[at] ?? 'unavailable' }))
}

/** In each round all bring the same new keys at once, each beginning at another one, every second one backwards. */
function itemsOf(writer: number, round: number): Item[] {
  // over ten rounds each writer has one group with a poison item
  const poisonAt = round % 10 === writer ? (writer * 37) % ITEMS : undefined
  return Array.from({ length: ITEMS }, (_, at) => {
    const step = writer % 2 === 0 ? at + writer * 20 : 2 * ITEMS - 1 - at - writer * 20
    const poison = at === poisonAt
    const key = poison ? `poison-${writer}-${round}` : `key-${round}-${(step + ITEMS) % ITEMS}`
    return { body: `${writer}/${round}/${at}`, key, poison }
  })
}

/** PostgreSQL's text holds no NUL: that is what makes an item poison here (22021). */
function notificationOf({ body, key, poison }: Item): NotificationToStore {
  return {
    provider: 'google',
    ref: null,
    receivedAt: new Date(),
    headers: {},
    body: Buffer.from(body),
    events: [
      {
        type: 'mail.mailbox.v1.notified',
        area: 'mail',
        provider: 'google',
        connectionId: 'con_a',
        subject: poison ? `${key}\u0000` : key,
        identity: key,
        data: { n: 1 },
      },
    ],
  }
}
