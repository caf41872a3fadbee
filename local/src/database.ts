/**
 * The database of a stack: the embedded PostgreSQL, or the one that DATABASE_URL names. Makes the embedded one's
 * `flovify` database; writes nothing else, and never prints a URL with its password.
 */

import { join } from 'node:path'
import pg from 'pg'
import { type Postgres, startPostgres } from './postgres.ts'
import { reason } from './postgres-account.ts'
import type { StopMode } from './postmaster.ts'
import { StartError } from './start-error.ts'

const NAME = 'flovify'

export interface Database {
  readonly url: string
  /** As a person may read it. */
  readonly description: string
  /** The server, where it is ours. */
  readonly embedded: EmbeddedDatabase | undefined
  stop(): Promise<void>
  /** Resolves when our server ends without having been told to; never for a database of somebody else. */
  readonly died: Promise<StartError>
}

/** For tests of faults: the server taken away and given back on the same port and data. */
export interface EmbeddedDatabase {
  readonly pid: number
  readonly dataDir: string
  readonly logFile: string
  stop(mode?: StopMode): Promise<void>
  start(): Promise<void>
}

/** @throws StartError `database_unreachable` when DATABASE_URL leads nowhere */
export async function useDatabase(databaseUrl: string): Promise<Database> {
  const where = describe(databaseUrl)
  await withClient(databaseUrl, async (client) => {
    await client.query('select 1')
  }).catch((error: unknown) => {
    throw new StartError(
      'database_unreachable',
      `The database of DATABASE_URL (${where}) cannot be reached: ${reasonOf(error)}. Start it, correct DATABASE_URL, or unset it to use the embedded PostgreSQL.`,
    )
  })
  return {
    url: databaseUrl,
    description: `PostgreSQL of DATABASE_URL (${where})`,
    embedded: undefined,
    stop: async () => undefined,
    died: new Promise(() => undefined),
  }
}

/** Starts or adopts the embedded PostgreSQL below `dataDir`. */
export async function embedDatabase(
  dataDir: string,
  logs: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<Database> {
  const died = Promise.withResolvers<StartError>()
  let told = false
  const begin = async (port: number): Promise<Postgres> => {
    const started = await startPostgres({
      dataDir: join(dataDir, 'postgres'),
      logFile: join(logs, 'postgres.log'),
      port,
      settings,
    })
    told = false
    started.exited
      .then(() => {
        if (!told && started === server)
          died.resolve(
            new StartError('child_died', `PostgreSQL ended unexpectedly; its log is ${started.logFile}.`),
          )
      })
      .catch(() => undefined)
    return started
  }
  let server = await begin(0)
  try {
    await ensureDatabase(server.url())
  } catch (error) {
    told = true
    await server.stop()
    throw error
  }
  const stop = async (mode: StopMode = 'fast') => {
    told = true
    await server.stop(mode)
  }
  return {
    url: server.url(NAME),
    description: `PostgreSQL, embedded${server.adopted ? ' (found running, adopted)' : ''}`,
    embedded: {
      get pid() {
        return server.pid
      },
      dataDir: server.dataDir,
      logFile: server.logFile,
      stop,
      start: async () => {
        server = await begin(server.port)
      },
    },
    stop,
    died: died.promise,
  }
}

async function ensureDatabase(maintenanceUrl: string): Promise<void> {
  await withClient(maintenanceUrl, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [NAME])
    if (rowCount === 0) await client.query(`create database ${NAME}`)
  })
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await work(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** An AggregateError (one failure per address of a name) has an empty message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reason(error.errors[0])
  return reason(error)
}

function describe(databaseUrl: string): string {
  const url = URL.parse(databaseUrl)
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw new StartError(
      'settings',
      'DATABASE_URL must be a URL like postgres://user:password@host:5432/name.',
    )
  return `${url.host}${url.pathname}`
}
