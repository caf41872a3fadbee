/**
 * Applies the numbered migrations, each in its own transaction, under one advisory lock. A database that is ahead of
 * this program is refused: an older binary must not write into a newer schema. Never edits an applied migration.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'

const FOLDER = new URL('../../migrations/', import.meta.url)
const LOCK = 7_310_452
/** What waits for a table holds up all that comes after it: a migration that is blocked gives up instead. */
const TABLE_WAIT_SECONDS = 5

export class MigrationError extends Error {
  readonly code = 'migration_failed'
  readonly safe = true
}

/**
 * @param databaseUrl of a role that may create schema objects (MIGRATION_DATABASE_URL)
 * @param runtimeRole the role of DATABASE_URL where it is another one: it gets the rights to read and write, and no DDL
 * @returns the names that were applied now
 * @throws MigrationError with a sentence for the operator
 */
export async function migrate(databaseUrl: string, runtimeRole?: string): Promise<string[]> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 5_000,
    application_name: 'flovify-migrations',
    options: '-c timezone=UTC',
  })
  await client.connect()
  try {
    const version = Number((await client.query('show server_version_num')).rows[0]?.server_version_num)
    if (version < 150_000)
      throw new MigrationError(
        `PostgreSQL ${Math.floor(version / 10_000)} is too old: 15 to 18 are supported`,
      )
    await client.query('select pg_advisory_lock($1)', [LOCK])
    await client.query('create schema if not exists auth')
    await client.query(
      'create table if not exists auth.migrations (name text primary key, sha256 text not null, applied_at timestamptz not null default now())',
    )
    const applied = await apply(client)
    if (runtimeRole !== undefined) await grant(client, runtimeRole)
    return applied
  } finally {
    await client.end()
  }
}

/** What the service needs at run time; day partitions are made through functions that run as the migration role. */
async function grant(client: pg.Client, role: string): Promise<void> {
  const name = client.escapeIdentifier(role)
  await client.query(`grant usage on schema auth to ${name}`)
  await client.query(`grant select, insert, update, delete on all tables in schema auth to ${name}`)
  await client.query(`revoke insert, update, delete on auth.migrations from ${name}`)
  await client.query(`grant usage, select on all sequences in schema auth to ${name}`)
  await client.query(
    `grant execute on function auth.ensure_day(text, date), auth.ensure_days(date, date) to ${name}`,
  )
}

async function apply(client: pg.Client): Promise<string[]> {
  const files = (await readdir(FOLDER)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).sort()
  const applied = new Map(
    (await client.query('select name, sha256 from auth.migrations')).rows.map((row) => [
      row.name as string,
      row.sha256 as string,
    ]),
  )
  for (const name of applied.keys()) {
    if (!files.includes(name))
      throw new MigrationError(
        `the database has migration ${name}, which this version does not know: start the newer version`,
      )
  }
  const now: string[] = []
  for (const name of files) {
    const text = await readFile(new URL(name, FOLDER), 'utf8')
    const digest = createHash('sha256').update(text).digest('hex')
    const known = applied.get(name)
    if (known === digest) continue
    if (known !== undefined)
      throw new MigrationError(
        `migration ${name} was changed after it was applied: restore the original file`,
      )
    await client.query('begin')
    try {
      await client.query(`set local lock_timeout = '${TABLE_WAIT_SECONDS}s'`)
      await client.query(text)
      await client.query('insert into auth.migrations (name, sha256) values ($1, $2)', [name, digest])
      await client.query('commit')
    } catch (cause) {
      await client.query('rollback')
      if (cause instanceof pg.DatabaseError && cause.code === '55P03')
        throw new MigrationError(
          `migration ${name} waited ${TABLE_WAIT_SECONDS} seconds for a table that somebody else uses; nothing was changed: end long transactions (pg_stat_activity) and start again`,
          { cause },
        )
      throw new MigrationError(
        `migration ${name} failed: ${cause instanceof Error ? cause.message : 'unknown'}`,
        { cause },
      )
    }
    now.push(name)
  }
  return now
}
