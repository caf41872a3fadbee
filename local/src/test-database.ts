/**
 * A database of its own for each test file, cloned from a template that already has the schema (some tens of
 * milliseconds instead of all migrations). It never touches a database that it did not make.
 */

import { randomBytes } from 'node:crypto'
import pg from 'pg'

/** Made once per test run by `local/test/global-setup.ts`, with all migrations applied. */
export const TEMPLATE_DATABASE = 'template_flovify'

/** PostgreSQL refuses to copy a template that another session is copying. */
const CLONE_LOCK = 4_190_226_117

export interface TestDatabase {
  readonly url: string
  /** Ends its sessions and removes it. */
  drop(): Promise<void>
}

/**
 * @param postgresUrl any database of the test server; `inject('postgresUrl')` in a test
 * @param options.template the database to copy; `template0` gives an empty one
 */
export async function createTestDatabase(
  postgresUrl: string,
  options: { template?: string } = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`
  const template = options.template ?? TEMPLATE_DATABASE
  await withClient(postgresUrl, async (client) => {
    await client.query('select pg_advisory_lock($1)', [CLONE_LOCK])
    await client.query(`create database ${name} template ${client.escapeIdentifier(template)}`)
  })
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  return {
    url: url.href,
    drop: () =>
      withClient(postgresUrl, async (client) => {
        await client.query(`drop database if exists ${name} with (force)`)
      }),
  }
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
