/** OP-06 at the database, and TV-06: what the process finds there it refuses, and it changes nothing. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@flovify/local/postgres'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { newEncryptionKey, seedSubscription } from '../../../e2e/src/seed.ts'
import { raw, sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { digestOfTables, runAuth, startAuth } from '../world.ts'

let database: TestDatabase
beforeEach(async () => {
  database = await testDatabase()
})
afterEach(() => database.close())

const production = (databaseUrl: string, more: Record<string, string | undefined> = {}) => ({
  AUTH_HOST: '127.0.0.1',
  AUTH_PORT: '0',
  AUTH_INTERNAL_PORT: '0',
  DATABASE_URL: databaseUrl,
  SERVICE_SECRET: randomBytes(32).toString('base64url'),
  ENCRYPTION_KEY: newEncryptionKey(),
  WEBHOOK_BASE_URL: 'https://webhooks.example.com',
  CONSOLE_BASE_URL: 'https://console.example.com',
  MICROSOFT_CLIENT_ID: 'client',
  MICROSOFT_CLIENT_SECRET: 'secret',
  ...more,
})

/** Everything that the process said, in one sentence of its own. */
function expectOneSentence(
  ending: { code: number | null; stdout: string; stderr: string },
  sentence: RegExp,
): void {
  expect(ending.code).toBe(1)
  expect(ending.stderr).toMatch(sentence)
  expect(ending.stderr.trimEnd().split('\n')).toHaveLength(1)
  expect(ending.stdout).not.toMatch(/auth is ready/)
  expect(ending.stderr).not.toMatch(/\bat \S+ \(|node:internal|password=|postgres:\/\//)
}

describe('OP-06 the database', () => {
  test('OP-06 a durable database with a clock that is not moved is accepted in production', async () => {
    const auth = await startAuth(production(database.url))
    await auth.stop()
    expect((await auth.ended).code).toBe(0)
  })

  test('OP-06 fsync=off and full_page_writes=off: refused, both named', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'flovify-unsafe-'))
    const postgres = await startPostgres({
      dataDir: join(directory, 'postgres'),
      settings: { fsync: 'off', full_page_writes: 'off' },
    })
    try {
      expectOneSentence(await runAuth(production(postgres.url())), /fsync is off, full_page_writes is off/)
    } finally {
      await postgres.stop('immediate')
      await rm(directory, { recursive: true, force: true })
    }
  })

  test('OP-06 synchronous_commit=off of this database or of this role: refused', async () => {
    const name = new URL(database.url).pathname.slice(1)
    await database.db.rows(sql`alter database ${raw(name)} set synchronous_commit = off`)
    expectOneSentence(await runAuth(production(database.url)), /synchronous_commit/)
  })

  test('OP-06 a moved clock: refused, and nothing has changed', async () => {
    await database.db.rows(sql`update auth.clock_offset set offset_ms = 1`)
    const before = await digestOfTables(database.db, [])
    expectOneSentence(await runAuth(production(database.url)), /clock_offset/)
    expect(await digestOfTables(database.db, [])).toEqual(before)
  })
})

describe('TV-06', () => {
  const key = newEncryptionKey()
  beforeEach(async () => {
    // a first start remembers the key; then there is something to lose
    const auth = await startAuth(production(database.url, { ENCRYPTION_KEY: key }))
    await auth.stop()
    await seedSubscription(database.url, key)
  })

  const wrong: [string, Record<string, string | undefined>, RegExp][] = [
    [
      'another key',
      { ENCRYPTION_KEY: newEncryptionKey() },
      /key "k0" is not the key that this database was sealed with/,
    ],
    ['no key', { ENCRYPTION_KEY: undefined }, /ENCRYPTION_KEY is missing/],
    ['an empty key', { ENCRYPTION_KEY: '' }, /ENCRYPTION_KEY is missing/],
    ['a short key', { ENCRYPTION_KEY: key.slice(0, 40) }, /not 32 bytes/],
    ['a key with one letter more', { ENCRYPTION_KEY: `x${key}` }, /not 32 bytes/],
    [
      'the right key under another id',
      { ENCRYPTION_KEY: undefined, ENCRYPTION_KEYS: `k1:${key}` },
      /key "k0" is in use in this database but not configured/,
    ],
    [
      'a ring whose other key is right and k0 is wrong',
      { ENCRYPTION_KEY: newEncryptionKey(), ENCRYPTION_KEYS: `k1:${newEncryptionKey()}` },
      /key "k0" is not the key/,
    ],
  ]
  test.each(wrong)(
    'TV-06 %s: ends with 1 and one sentence without key bytes, and no row has changed',
    async (_, more, sentence) => {
      const before = await digestOfTables(database.db, [])
      const ending = await runAuth(production(database.url, { ENCRYPTION_KEY: key, ...more }))
      expectOneSentence(ending, sentence)
      for (const text of [key, ...Object.values(more)])
        if (text !== undefined && text.length > 8)
          expect(ending.stderr + ending.stdout).not.toContain(text.slice(3, 20))
      expect(await digestOfTables(database.db, [])).toEqual(before)
    },
  )

  test('TV-06 a wrong key is found before a pending migration is applied', async () => {
    await database.db.rows(
      sql`delete from auth.migrations where name = (select max(name) from auth.migrations)`,
    )
    const before = await digestOfTables(database.db, [])
    const ending = await runAuth(production(database.url, { ENCRYPTION_KEY: newEncryptionKey() }))
    expectOneSentence(ending, /key "k0" is not the key that this database was sealed with/)
    expect(await digestOfTables(database.db, [])).toEqual(before)
  })

  test('TV-06 the right key starts again, and a further key beside it is remembered', async () => {
    const auth = await startAuth(
      production(database.url, { ENCRYPTION_KEY: key, ENCRYPTION_KEYS: `k1:${newEncryptionKey()}` }),
    )
    await auth.stop()
    const rows = await database.db.rows(sql`select key_id, status from auth.vault_keys order by key_id`)
    expect(rows).toEqual([
      { key_id: 'k0', status: 'primary' },
      { key_id: 'k1', status: 'decrypt' },
    ])
  })
})
