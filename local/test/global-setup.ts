/**
 * One PostgreSQL for a whole test run, in a temporary directory, with the migrations applied once to a template
 * database. Durable like in production (readiness is tested against it), only without replication. It removes
 * everything at the end, and also what an earlier run that was killed has left.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../src/postgres.ts'
import { findPostmaster, isRunning, stopPostmaster } from '../src/postmaster.ts'
import { TEMPLATE_DATABASE } from '../src/test-database.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The maintenance database of the run's PostgreSQL; give it to `createTestDatabase`. */
    postgresUrl: string
  }
}

const PREFIX = 'flovify-test-'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeLeftovers()
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`))
  const postgres = await startPostgres({
    dataDir: join(directory, 'postgres'),
    settings: {
      fsync: 'on',
      synchronous_commit: 'on',
      wal_level: 'minimal',
      max_wal_senders: '0',
      shared_buffers: '32MB',
      max_connections: '200',
    },
  })
  const teardown = async () => {
    await postgres.stop('immediate')
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await makeTemplate(postgres.url(), postgres.url(TEMPLATE_DATABASE))
  } catch (error) {
    await teardown()
    throw error
  }
  project.provide('postgresUrl', postgres.url())
  return teardown
}

async function makeTemplate(maintenanceUrl: string, templateUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: maintenanceUrl })
  await client.connect()
  try {
    await client.query(`create database ${TEMPLATE_DATABASE}`)
  } finally {
    await client.end()
  }
  const file = new URL('../../auth/src/db/migrate.ts', import.meta.url)
  if (!existsSync(file)) return
  const { migrate } = (await import(file.href)) as { migrate: (databaseUrl: string) => Promise<void> }
  await migrate(templateUrl)
}

/** The name of a run's directory carries the number of its process; a dead one's server is stopped. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1])
    if (!Number.isInteger(pid) || isRunning(pid)) continue
    const directory = join(tmpdir(), name)
    const orphan = findPostmaster(join(directory, 'postgres'))
    if (orphan !== undefined) await stopPostmaster(orphan.pid, 'immediate')
    await rm(directory, { recursive: true, force: true })
  }
}
