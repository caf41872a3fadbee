/** Migrations: once, in order, never onto a newer database, and beside an `auth.users` that the platform made. */
import { createTestDatabase } from '@flovify/local/test-database'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { newEncryptionKey, seedSubscription } from '../../../e2e/src/seed.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { sql } from '../../src/db/sql.ts'
import { openLog } from '../../src/platform/log.ts'
import type { TestDatabase } from '../database.ts'
import { signIn, stored } from '../http/people.ts'
import { ask, json } from '../http/wire.ts'
import { digestOfTables, environmentOf, openWorld, runAuth } from '../world.ts'

/** Nothing is in it. */
let empty: TestDatabase
beforeEach(async () => {
  empty = await emptyDatabase()
})
afterEach(() => empty.close())

async function emptyDatabase(): Promise<TestDatabase> {
  const made = await createTestDatabase(inject('postgresUrl'), { template: 'template0' })
  const log = openLog({ write: () => {} })
  const db: Pool = openPool({
    url: made.url,
    name: 'work',
    size: 3,
    connectMs: 5_000,
    statementMs: 10_000,
    log,
  })
  let closed: Promise<void> | undefined
  return {
    db,
    url: made.url,
    close: () => {
      closed ??= db.close().then(() => made.drop())
      return closed
    },
  }
}

describe('migrations', () => {
  test('are applied in order to an empty database, and a second time nothing happens', async () => {
    const first = await migrate(empty.url)
    expect(first.length).toBeGreaterThanOrEqual(5)
    expect(first).toEqual([...first].sort())
    const before = await digestOfTables(empty.db, [])
    expect(await migrate(empty.url)).toEqual([])
    expect(await digestOfTables(empty.db, [])).toEqual(before)
  })

  test('by four processes at once are applied once', async () => {
    const applied = await Promise.all([1, 2, 3, 4].map(() => migrate(empty.url)))
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1)
  })

  test('of a newer version are refused by this one: one sentence, 1, and nothing has changed', async () => {
    await migrate(empty.url)
    await empty.db.rows(
      sql`insert into auth.migrations (name, sha256) values ('9999_from_the_future.sql', 'x')`,
    )
    const before = await digestOfTables(empty.db, [])
    await expect(migrate(empty.url)).rejects.toThrow(/9999_from_the_future\.sql.*start the newer version/)
    const { code, stderr } = await runAuth(environmentOf(empty.url))
    expect([code, stderr.trimEnd().split('\n').length]).toEqual([1, 1])
    expect(stderr).toMatch(/start the newer version/)
    expect(await digestOfTables(empty.db, [])).toEqual(before)
  })

  test('that wait for a table give up with a sentence, hold up nobody, and are applied by the next start', async () => {
    await migrate(empty.url)
    // back to before one of them
    await empty.db.rows(sql`delete from auth.migrations where name = '0680_cheaper_delivery.sql'`)
    await empty.db.rows(sql`drop index auth.delivery_outcomes_event_day`)
    await empty.db.rows(sql`create index delivery_outcomes_event on auth.delivery_outcomes (event_id)`)
    await empty.db.transaction(async (tx) => {
      await tx.rows(sql`lock table auth.deliveries in share update exclusive mode`)
      await expect(migrate(empty.url)).rejects.toThrow(/^migration 0680_\w+\.sql waited .* start again$/)
    })
    expect(await migrate(empty.url)).toEqual(['0680_cheaper_delivery.sql'])
  })

  test('that were changed after they were applied are refused', async () => {
    await migrate(empty.url)
    await empty.db.rows(sql`update auth.migrations set sha256 = 'x' where name like '0002%'`)
    await expect(migrate(empty.url)).rejects.toThrow(/0002_\w+\.sql was changed/)
  })
})

const TABLES = {
  uuid: sql`create table auth.users (id uuid primary key default gen_random_uuid(), email text unique, name text)`,
  bigint: sql`create table auth.users (id bigint generated always as identity primary key, email text unique, name text)`,
}

describe.each(['uuid', 'bigint'] as const)('an auth.users of the platform with %s ids', (type) => {
  test('is used as it is: sign-in, connections and events of its users', async () => {
    await empty.db.rows(sql`create schema auth`)
    await empty.db.rows(TABLES[type])
    const columns = () =>
      empty.db.rows(sql`
        select column_name, data_type, column_default, is_nullable from information_schema.columns
         where table_schema = 'auth' and table_name = 'users' order by ordinal_position`)
    const before = await columns()
    await migrate(empty.url)
    expect(await columns()).toEqual(before)

    const key = newEncryptionKey()
    const ada = await seedSubscription(empty.url, key, 'ada@example.com')
    await seedSubscription(empty.url, key, 'bob@example.com')
    const world = await openWorld({ database: empty, environment: { ENCRYPTION_KEY: key } })
    try {
      const person = await signIn(world, 'ada@example.com')
      expect(person.userId).toBe(ada.ownerId)
      const answer = await ask(world.publicPort, {
        method: 'POST',
        path: ada.path,
        body: ada.notification('1'),
      })
      expect(answer.status).toBe(202)
      expect(await stored(world.db)).toEqual({ notifications: 1, events: 1 })
      for (const [path, name] of [
        ['/internal/connections', 'id'],
        ['/internal/events', 'connection_id'],
      ] as const) {
        const list = json(await ask(world.internalPort, { path, headers: person.headers })) as {
          items: Record<string, string>[]
        }
        expect(list.items.map((item) => item[name])).toEqual([ada.connectionId])
      }
    } finally {
      await world.close()
    }
  })

  test('does not get a user that the platform does not know, when it wants more than an address', async () => {
    await empty.db.rows(sql`create schema auth`)
    await empty.db.rows(TABLES[type])
    await empty.db.rows(sql`alter table auth.users add column tenant text not null`)
    await migrate(empty.url)
    const world = await openWorld({ database: empty })
    try {
      const answer = await ask(world.internalPort, {
        method: 'POST',
        path: '/internal/signin-links',
        headers: { 'x-service-token': world.serviceToken, 'content-type': 'application/json' },
        body: JSON.stringify({ email: 'new@example.com', role: 'user' }),
      })
      expect(answer.status).toBe(422)
    } finally {
      await world.close()
    }
  })
})
