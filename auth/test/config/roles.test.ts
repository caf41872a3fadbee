import { randomBytes } from 'node:crypto'
import { createTestDatabase } from '@flovify/local/test-database'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { migrate } from '../../src/db/migrate.ts'

describe('IA-08 two roles', () => {
  const role = `runtime_${randomBytes(4).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  let database: Awaited<ReturnType<typeof createTestDatabase>>
  let admin: pg.Client
  let runtime: pg.Client

  beforeAll(async () => {
    database = await createTestDatabase(inject('postgresUrl'))
    admin = new pg.Client({ connectionString: database.url })
    await admin.connect()
    await admin.query(`create role ${role} login password '${password}'`)
    await migrate(database.url, role)
    const url = new URL(database.url)
    url.username = role
    url.password = password
    runtime = new pg.Client({ connectionString: url.href })
    await runtime.connect()
  })
  afterAll(async () => {
    await runtime.end()
    await admin.query(`drop owned by ${role}`)
    await admin.query(`drop role ${role}`)
    await admin.end()
    await database.drop()
  })

  test('the run-time role reads, writes, bumps the rule revision and makes a day', async () => {
    await runtime.query(
      "insert into auth.destinations (id, name, url, data_key, secret) values ('dst_r', 'r', 'https://example.com', 'x', 'x')",
    )
    await runtime.query("insert into auth.rules (id, name, destination_id) values ('rul_r', 'r', 'dst_r')")
    await runtime.query("select auth.ensure_days('2033-01-01'::date, '2033-01-02'::date)")
    await runtime.query(
      "insert into auth.notifications (id, received_at, provider, headers, body, body_sha256) values ('n', '2033-01-01T05:00Z', 'p', '', '', '')",
    )
    expect(
      (await runtime.query("select tableoid::regclass::text as day from auth.notifications where id = 'n'"))
        .rows,
    ).toEqual([{ day: 'auth.notifications_20330101' }])
  })

  test('it cannot create, alter or drop, nor change what was migrated', async () => {
    for (const statement of [
      'create table auth.mine (a int)',
      'alter table auth.events add column mine int',
      'drop table auth.rules',
      'truncate auth.events',
      'delete from auth.migrations',
    ]) {
      await expect(runtime.query(statement), statement).rejects.toMatchObject({ code: '42501' })
    }
  })

  test('a stranger may not make days', async () => {
    const { rows } = await admin.query(
      "select has_function_privilege('public', 'auth.ensure_day(text, date)', 'execute') may",
    )
    expect(rows).toEqual([{ may: false }])
  })

  test('making a day does not wait for readers, nor stop writers', async () => {
    const reader = new pg.Client({ connectionString: database.url })
    await reader.connect()
    await reader.query('begin')
    await reader.query('select count(*) from auth.events')
    await admin.query('begin')
    await admin.query("select auth.ensure_days('2034-01-01'::date, '2034-01-01'::date)")
    await runtime.query("set statement_timeout = '1s'")
    await runtime.query(
      "insert into auth.notifications (id, received_at, provider, headers, body, body_sha256) values ('m', now(), 'p', '', '', '')",
    )
    await admin.query('commit')
    await reader.query('rollback')
    await reader.end()
  })
})
