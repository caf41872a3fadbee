/**
 * The whole of Auth for tests: composed in this process, once or several times on one cloned database, on free ports,
 * with its log in memory; or `main.ts` as a real child process. Nothing in it is a stand-in except the providers, which
 * are places on loopback where nothing listens unless a test puts something there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { Environment } from '@flovify/providers'
import { newEncryptionKey } from '../../e2e/src/seed.ts'
import { compileCache } from '../../local/src/child.ts'
import { compose } from '../src/compose.ts'
import { readConfig } from '../src/config.ts'
import { raw, sql } from '../src/db/sql.ts'
import { openLog } from '../src/platform/log.ts'
import { type TestDatabase, testDatabase } from './database.ts'

export interface Instance {
  readonly publicPort: number
  readonly internalPort: number
  stop(): Promise<void>
}

export interface World extends Instance {
  readonly database: TestDatabase
  readonly db: TestDatabase['db']
  readonly environment: Record<string, string>
  readonly encryptionKey: string
  readonly serviceToken: string
  /** All of them; the world itself is the first. */
  readonly instances: readonly Instance[]
  /** Log lines of all instances. */
  readonly lines: string[]
  close(): Promise<void>
}

export interface WorldOptions {
  readonly instances?: number
  readonly environment?: Environment
  /** Where Auth finds the database, when it is not the clone itself (a proxy before it). */
  readonly seenAt?: (url: string) => string
  /** Instead of a clone of the template. It is closed with the world. */
  readonly database?: TestDatabase
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const database = options.database ?? (await testDatabase())
  const seenAt = options.seenAt?.(database.url) ?? database.url
  const environment = environmentOf(seenAt, options.environment)
  const lines: string[] = []
  const log = openLog({ write: (line: string) => lines.push(line) })
  const instances: Instance[] = []
  const close = async () => {
    await Promise.all(instances.map((instance) => instance.stop()))
    await database.close()
  }
  try {
    for (let i = 0; i < (options.instances ?? 1); i += 1) {
      const reading = readConfig(environment, [])
      if (reading.kind === 'mistakes') throw new Error(reading.mistakes.join('\n'))
      const service = await compose(reading.config, { log })
      let stopped: Promise<void> | undefined
      instances.push({
        publicPort: service.publicPort,
        internalPort: service.internalPort,
        stop: () => {
          stopped ??= service.stop(2_000)
          return stopped
        },
      })
    }
  } catch (error) {
    await close()
    throw error
  }
  const [first] = instances
  if (first === undefined) throw new Error('a world has at least one instance')
  return {
    ...first,
    database,
    db: database.db,
    environment,
    encryptionKey: environment.ENCRYPTION_KEY ?? '',
    serviceToken: environment.SERVICE_SECRET ?? '',
    instances,
    lines,
    close,
  }
}

/** Nothing listens on port 9 of loopback: a call to a provider fails at once and leaves the machine never. */
const NOWHERE = 'http://127.0.0.1:9'

/** Local mode, both providers on, free ports, fresh secrets. `undefined` removes a variable. */
export function environmentOf(databaseUrl: string, more: Environment = {}): Record<string, string> {
  const all: Environment = {
    AUTH_MODE: 'local',
    AUTH_PORT: '0',
    AUTH_INTERNAL_PORT: '0',
    DATABASE_URL: databaseUrl,
    SERVICE_SECRET: randomBytes(32).toString('base64url'),
    ENCRYPTION_KEY: newEncryptionKey(),
    WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
    CONSOLE_BASE_URL: 'http://localhost:3000',
    MICROSOFT_CLIENT_ID: 'client-of-microsoft',
    MICROSOFT_CLIENT_SECRET: 'secret-of-microsoft',
    MICROSOFT_LOGIN_URL: NOWHERE,
    MICROSOFT_GRAPH_URL: NOWHERE,
    MICROSOFT_WEBHOOK_SECRET: randomBytes(32).toString('base64url'),
    GOOGLE_CLIENT_ID: 'client-of-google',
    GOOGLE_CLIENT_SECRET: 'secret-of-google',
    GOOGLE_ACCOUNTS_URL: NOWHERE,
    GOOGLE_TOKEN_URL: NOWHERE,
    GOOGLE_API_URL: NOWHERE,
    GMAIL_API_URL: NOWHERE,
    GOOGLE_PUBSUB_AUDIENCE: 'https://webhooks.example.com/webhook/events/google',
    GOOGLE_PUBSUB_SERVICE_ACCOUNT: 'push@project.iam.gserviceaccount.com',
    GOOGLE_PUBSUB_SUBSCRIPTION: 'projects/project/subscriptions/gmail',
    GOOGLE_PUBSUB_TOPIC: 'projects/project/topics/gmail',
    ...more,
  }
  return Object.fromEntries(Object.entries(all).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])))
}

/** What must not change: rows of every table in the schema `auth`, counted and hashed. Leases and clocks of chores and heartbeats excepted. */
export async function digestOfTables(
  db: TestDatabase['db'],
  without: readonly string[] = ['chores', 'processes'],
): Promise<Record<string, string>> {
  const tables = await db.rows<{ name: string }>(sql`
    select c.relname "name" from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'auth' and c.relkind in ('r', 'p') and not c.relispartition order by 1`)
  const digest: Record<string, string> = {}
  for (const { name } of tables) {
    if (without.includes(name)) continue
    const row = await db.one<{ digest: string }>(sql`
      select count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) digest
        from auth.${raw(`"${name}"`)} t`)
    digest[name] = row?.digest ?? ''
  }
  return digest
}

export interface Ending {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Measure {
  /** CPU time used since the start of the process. */
  readonly cpuMs: number
  readonly rssBytes: number
  /** Names that Object.prototype and Array.prototype have in that process. */
  readonly prototypes: readonly string[]
}

export interface AuthProcess extends Instance {
  readonly pid: number
  readonly ended: Promise<Ending>
  output(): string
  measure(): Promise<Measure>
  signal(signal: NodeJS.Signals): void
}

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const GAUGE = new URL('./http/gauge.ts', import.meta.url).href

/** `main.ts` until it ends by itself. For starts that must fail. */
export function runAuth(environment: Environment, flags: readonly string[] = []): Promise<Ending> {
  const child = launch(environment, flags)
  const late = setTimeout(() => child.process.kill('SIGKILL'), 30_000)
  return child.ended.finally(() => clearTimeout(late))
}

/** `main.ts` as a process, ready. @throws with its output when it does not start */
export async function startAuth(environment: Environment): Promise<AuthProcess> {
  const { process: child, ended, output } = launch(environment, ['--import', GAUGE], true)
  const ready = await Promise.race([
    ended.then(() => undefined),
    new Promise<{ public_port: number; internal_port: number }>((resolve) => {
      child.stdout?.on('data', () => {
        const line = output()
          .split('\n')
          .find((text) => text.includes('"auth is ready"'))
        if (line !== undefined) resolve(JSON.parse(line) as { public_port: number; internal_port: number })
      })
    }),
  ])
  if (ready === undefined || child.pid === undefined) throw new Error(`auth did not start: ${output()}`)
  return {
    pid: child.pid,
    publicPort: ready.public_port,
    internalPort: ready.internal_port,
    ended,
    output,
    signal: (signal) => void child.kill(signal),
    measure: () =>
      new Promise((resolve, reject) => {
        child.once('message', (message) => resolve(message as Measure))
        child.send('measure', (error) => error !== null && reject(error))
      }),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await ended
      clearTimeout(late)
    },
  }
}

interface Launched {
  readonly process: ChildProcess
  readonly ended: Promise<Ending>
  output(): string
}

function launch(environment: Environment, flags: readonly string[], ipc = false): Launched {
  const child = spawn(process.execPath, [...flags, MAIN], {
    env: { ...compileCache(), PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])],
  })
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ending>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
  return { process: child, ended, output: () => stdout + stderr }
}
