/**
 * A real PostgreSQL from npm on one data directory: made, started, found again after a crash of its supervisor,
 * and stopped. It listens on 127.0.0.1 only. Sign-in is scram with a random password, kept beside the data directory
 * with mode 600, and no unix socket: on a machine with several users `trust` would let each of them read the
 * database, over TCP as well as over a socket below /tmp. It never deletes data.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, isPortFree } from './free-port.ts'
import { type Guard, openGuard } from './guard-connection.ts'
import { chooseAccount } from './postgres-account.ts'
import { findBinaries } from './postgres-binaries.ts'
import {
  checkMajor,
  cleanEnvironment,
  createData,
  hasData,
  keepPassword,
  lastLine,
  type Site,
  USER,
} from './postgres-data.ts'
import { findPostmaster, isRunning, type Postmaster, type StopMode, stopPostmaster } from './postmaster.ts'
import { StartError } from './start-error.ts'

/** Recovery after a crash may replay much; a server that is alive is waited for. */
const START_PATIENCE_MS = 120_000

export interface PostgresOptions {
  /** The directory of the data; made when it is missing. Its password lies beside it in `<dataDir>.password`. */
  readonly dataDir: string
  /** 0 or absent: a free one. A server that is adopted keeps the port it has. */
  readonly port?: number
  /** Settings of postgresql.conf that differ from PostgreSQL's own defaults. */
  readonly settings?: Readonly<Record<string, string>>
  /** Where the server writes its log; by default `<dataDir>.log`. */
  readonly logFile?: string
}

export interface Postgres {
  readonly port: number
  readonly pid: number
  /** True when the server was already running, left over by a supervisor that was killed. */
  readonly adopted: boolean
  readonly dataDir: string
  readonly logFile: string
  /** Resolves when the server's process is gone, expected or not. */
  readonly exited: Promise<void>
  /** The connection URL, with its password: never to be printed. */
  url(database?: string): string
  stop(mode?: StopMode): Promise<void>
}

/**
 * Starts PostgreSQL, or adopts the one that already runs on this data.
 *
 * @throws StartError with one sentence when the surroundings do not allow it
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const asked = resolve(options.dataDir)
  await mkdir(dirname(asked), { recursive: true })
  // The server reports its directory with symbolic links resolved; so do we.
  const dataDir = join(await realpath(dirname(asked)), basename(asked))
  const binaries = findBinaries()
  checkMajor(dataDir, binaries.major)
  const account = await chooseAccount(dataDir, [binaries.postgres])
  const password = await keepPassword(`${dataDir}.password`, hasData(dataDir))
  const site: Site = {
    dataDir,
    binaries,
    account,
    password,
    logFile: options.logFile ?? `${dataDir}.log`,
    settings: options.settings ?? {},
  }

  const orphan = findPostmaster(dataDir)
  if (orphan !== undefined) {
    const adopted = await adopt(site, orphan)
    if (adopted !== undefined) return adopted
    await stopPostmaster(orphan.pid, 'fast')
  }
  if (!hasData(dataDir)) await createData(site)
  await account.own(dataDir)
  return launchOnPort(site, options.port ?? 0)
}

/** The orphan is adopted only if it takes our password and says that it serves our directory. */
async function adopt(site: Site, orphan: Postmaster): Promise<Postgres | undefined> {
  for (
    const end = Date.now() + START_PATIENCE_MS;
    isRunning(orphan.pid) && Date.now() < end;
    await sleep(50)
  ) {
    const result = await openGuard(urlOf(site, orphan.port, 'postgres'), orphan.pid)
    if (result.kind === 'not_ready') continue
    if (result.kind === 'in_use')
      throw new StartError(
        'already_running',
        `Another process already uses the data in ${site.dataDir}: stop it first (Ctrl-C where it runs), or choose another data directory.`,
      )
    if (result.kind === 'refused') return undefined
    if (result.dataDir === site.dataDir) return running(site, orphan, result.guard, true)
    await result.guard.close()
    return undefined
  }
  return undefined
}

async function launchOnPort(site: Site, wanted: number): Promise<Postgres> {
  for (let tries = 1; ; tries++) {
    if (wanted !== 0 && !(await isPortFree(wanted))) throw portTaken(wanted)
    const result = await launch(site, wanted === 0 ? await freePort() : wanted)
    if (result.kind === 'running') return result.postgres
    if (result.kind === 'failed')
      throw new StartError(
        'postgres_failed',
        `PostgreSQL did not start: ${result.reason} (its log is ${site.logFile}).`,
      )
    if (wanted !== 0 || tries === 5) throw portTaken(wanted)
  }
}

function portTaken(port: number): StartError {
  return new StartError(
    'port_taken',
    `Port ${port} on 127.0.0.1 is taken by another process: stop it, or choose another port for PostgreSQL.`,
  )
}

type Launch =
  | { readonly kind: 'running'; readonly postgres: Postgres }
  | { readonly kind: 'port_taken' }
  | { readonly kind: 'failed'; readonly reason: string }

async function launch(site: Site, port: number): Promise<Launch> {
  const logStart = existsSync(site.logFile) ? statSync(site.logFile).size : 0
  const child = spawnServer(site, port)
  const pid = child.pid
  if (pid === undefined) return { kind: 'failed', reason: 'the program could not be run' }
  for (const end = Date.now() + START_PATIENCE_MS; Date.now() < end; await sleep(20)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const log = readFileSync(site.logFile).subarray(logStart).toString('utf8')
      if (/address already in use/i.test(log)) return { kind: 'port_taken' }
      return { kind: 'failed', reason: lastLine(log.match(/^.*FATAL:.*$/gm)?.join('\n') ?? log) }
    }
    // Another server may answer on a port that was guessed: only ours has written our directory's file.
    if (findPostmaster(site.dataDir)?.pid !== pid) continue
    const result = await openGuard(urlOf(site, port, 'postgres'), pid)
    if (result.kind === 'open') {
      const postgres = running(site, { pid, port }, result.guard, false)
      return { kind: 'running', postgres }
    }
    if (result.kind !== 'not_ready') {
      await stopPostmaster(pid, 'fast')
      return {
        kind: 'failed',
        reason:
          result.kind === 'refused'
            ? `${result.reason}; the password in ${site.dataDir}.password does not fit the data`
            : 'another supervisor took it',
      }
    }
  }
  await stopPostmaster(pid, 'immediate')
  return { kind: 'failed', reason: `no answer within ${START_PATIENCE_MS / 1000} s` }
}

/**
 * In a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which then stops things in
 * order; the log is a file, because a pipe would break when the supervisor is killed.
 */
function spawnServer(site: Site, port: number): ChildProcess {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    // Neither statements nor row values in the log: they may hold what must not be there.
    log_error_verbosity: 'terse',
    log_min_error_statement: 'panic',
    ...site.settings,
    port: String(port),
  }
  const args = ['-D', site.dataDir, ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`])]
  const { file, args: all, identity } = site.account.command(site.binaries.postgres, args)
  const log = openSync(site.logFile, 'a', 0o600)
  try {
    const child = spawn(file, all, {
      ...identity,
      cwd: '/',
      env: cleanEnvironment(),
      detached: true,
      stdio: ['ignore', log, log],
    })
    child.on('error', () => undefined)
    child.unref()
    return child
  } finally {
    closeSync(log)
  }
}

function running(site: Site, { pid, port }: Postmaster, guard: Guard, adopted: boolean): Postgres {
  let stopping: Promise<void> | undefined
  return {
    port,
    pid,
    adopted,
    dataDir: site.dataDir,
    logFile: site.logFile,
    exited: guard.exited,
    url: (database = 'postgres') => urlOf(site, port, database),
    stop: (mode = 'fast') => {
      stopping ??= (async () => {
        await guard.close()
        await stopPostmaster(pid, mode)
        await guard.exited
      })()
      return stopping
    },
  }
}

function urlOf(site: Site, port: number, database: string): string {
  return `postgres://${USER}:${site.password}@127.0.0.1:${port}/${encodeURIComponent(database)}`
}
