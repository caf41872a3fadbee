/**
 * The supervisor's own connection to its PostgreSQL. While it is open it holds an advisory lock: the sign for a
 * second supervisor that this data is in use. The operating system closes it when the supervisor is killed, so the
 * sign cannot go stale as a lock file can. It reconnects when only the session was lost. It never runs anything else.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { isMissing } from './postgres-account.ts'
import { isRunning } from './postmaster.ts'

/** Any number that nobody else uses in the `postgres` database. */
const SUPERVISOR_LOCK = 7_215_033_418

/** How long a session of a killed supervisor may take to disappear from the server. */
const LOCK_PATIENCE_MS = 3_000

export type GuardResult =
  | { readonly kind: 'open'; readonly guard: Guard; readonly dataDir: string }
  | { readonly kind: 'in_use' }
  /** The server is there but not yet, or no longer, taking sessions. */
  | { readonly kind: 'not_ready' }
  | { readonly kind: 'refused'; readonly reason: string }

export interface Guard {
  /** Resolves when the server's process is gone, expected or not. */
  readonly exited: Promise<void>
  close(): Promise<void>
}

/** Opens the guard connection to the server with process number `pid`. */
export async function openGuard(url: string, pid: number): Promise<GuardResult> {
  const first = await connect(url)
  if (first.kind !== 'connected') return first
  const client = first.client
  const lost = once(client)
  if (!(await takeLock(client))) {
    await client.end().catch(() => undefined)
    return { kind: 'in_use' }
  }
  const { rows } = await client.query<{ data_directory: string }>('show data_directory')
  return { kind: 'open', guard: watch(url, pid, client, lost), dataDir: rows[0]?.data_directory ?? '' }
}

function watch(url: string, pid: number, first: pg.Client, firstLost: Promise<void>): Guard {
  let client: pg.Client | undefined = first
  let closed = false
  const run = async () => {
    let lost = firstLost
    for (;;) {
      await lost
      client = undefined
      while (isRunning(pid)) {
        await sleep(100)
        if (closed) continue
        const again = await connect(url)
        if (again.kind !== 'connected') continue
        lost = once(again.client)
        if (!(await takeLock(again.client).catch(() => false))) continue
        client = again.client
        break
      }
      if (client === undefined) return
    }
  }
  return {
    exited: run(),
    close: async () => {
      closed = true
      await client?.end().catch(() => undefined)
    },
  }
}

type Connected =
  | { readonly kind: 'connected'; readonly client: pg.Client }
  | Exclude<GuardResult, { kind: 'open' }>

async function connect(url: string): Promise<Connected> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'flovify supervisor',
    connectionTimeoutMillis: 2_000,
    keepAlive: true,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return { kind: 'connected', client }
  } catch (error) {
    await client.end().catch(() => undefined)
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    // Class 28: authentication refused; everything else passes while the server starts or stops.
    if (code.startsWith('28') || isMissing(error))
      return { kind: 'refused', reason: error instanceof Error ? error.message : code }
    return { kind: 'not_ready' }
  }
}

async function takeLock(client: pg.Client): Promise<boolean> {
  for (const end = Date.now() + LOCK_PATIENCE_MS; ; await sleep(50)) {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [
      SUPERVISOR_LOCK,
    ])
    if (rows[0]?.taken === true) return true
    if (Date.now() > end) return false
  }
}

function once(client: pg.Client): Promise<void> {
  return new Promise((resolve) => client.once('end', () => resolve()))
}
