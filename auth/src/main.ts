/**
 * The process: configuration, migrations, key check, then the composed service until a signal ends it. Every way to
 * fail at start is one sentence on standard error and a non-zero exit.
 */
import { getPriority, setPriority } from 'node:os'
import { compose, type Service } from './compose.ts'
import { type Config, readConfig } from './config.ts'
import { migrate } from './db/migrate.ts'
import { openPool } from './db/pool.ts'
import { errorFields, type Log, openLog } from './platform/log.ts'
import { verifyKeys } from './vault/store.ts'

const DRAIN_MS = 8_000
/** A process that only works leaves the processor to the doors: a backlog can wait, a provider cannot (decision 51). */
const YIELDS_BY = 5

async function main(): Promise<void> {
  const reading = readConfig()
  if (reading.kind === 'mistakes') {
    for (const mistake of reading.mistakes) process.stderr.write(`${mistake}\n`)
    process.exit(1)
  }
  const log = openLog()
  const service = await start(reading.config, log)

  let stopping = false
  const stop = (signal: string) => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'draining')
    service.stop(DRAIN_MS).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error(errorFields(error), 'draining failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  process.on('uncaughtException', (error) => {
    log.error(errorFields(error), 'an error nobody caught; ending')
    process.exit(1)
  })
  // last: whoever waits for this line may end the process at once
  log.info(
    {
      mode: reading.config.mode,
      role: reading.config.role,
      public_port: service.publicPort,
      internal_port: service.internalPort,
    },
    'auth is ready',
  )
}

async function start(config: Config, log: Log): Promise<Service> {
  try {
    if (config.role === 'work') setPriority(Math.min(19, getPriority() + YIELDS_BY))
    await verifyBeforeMigrating(config, log)
    const applied = await migrate(config.migrationDatabaseUrl, runtimeRoleOf(config))
    if (applied.length > 0) log.info({ migrations: applied.join(' ') }, 'migrated')
    return await compose(config, { log })
  } catch (error) {
    process.stderr.write(`${sentenceOf(error)}\n`)
    process.exit(1)
  }
}

async function verifyBeforeMigrating(config: Config, log: Log): Promise<void> {
  const db = openPool({
    url: config.migrationDatabaseUrl,
    name: 'migrations',
    size: 1,
    connectMs: 5_000,
    statementMs: 5_000,
    log,
  })
  try {
    await verifyKeys(db, config.keys)
  } finally {
    await db.close()
  }
}

/** The role of DATABASE_URL, where migrations run as another one. */
function runtimeRoleOf(config: Config): string | undefined {
  const runtime = decodeURIComponent(new URL(config.databaseUrl).username)
  const migrating = decodeURIComponent(new URL(config.migrationDatabaseUrl).username)
  return runtime === '' || runtime === migrating ? undefined : runtime
}

const CONNECTION_CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing answers there',
  ENOTFOUND: 'its host name is unknown',
  ETIMEDOUT: 'it does not answer',
  ECONNRESET: 'it closed the connection',
  '28P01': 'it refuses the password',
  '28000': 'it refuses the user',
  '3D000': 'the database does not exist',
}

/** One sentence for the operator; never an address, a password or a key. */
function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return 'auth could not start'
  if ('safe' in error && error.safe === true) return error.message
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code === 'EADDRINUSE' && 'port' in error)
    return `port ${String(error.port)} is taken: stop what listens there, or set AUTH_PORT or AUTH_INTERNAL_PORT`
  const reason = CONNECTION_CODES[code]
  if (reason !== undefined) return `the database of DATABASE_URL cannot be used: ${reason}`
  if (/timeout/i.test(error.message)) return 'the database of DATABASE_URL cannot be used: it does not answer'
  const fields = errorFields(error)
  return `auth could not start: ${fields.error_class} ${fields.error_code ?? ''} ${fields.error_at ?? ''}`
}

await main()
