/**
 * One program of ours as a child process: started, waited for, killed, restarted, stopped. Its output goes to a file,
 * so that neither its end nor the supervisor's breaks the other. In a session of its own: Ctrl-C reaches only the
 * supervisor, which stops things in order. It never restarts anything by itself.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Environment } from './settings.ts'
import { StartError } from './start-error.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LEASH = new URL('./leash.ts', import.meta.url).href
const LOG_LIMIT_BYTES = 10_000_000

export interface Program {
  /** As a person knows it: `Auth`. */
  readonly name: string
  /** Path of the main file below the repository's root. */
  readonly main: string
  readonly environment: Environment
  readonly logFile: string
  /** `errors` for a program that prints a secret on its standard output. */
  readonly logs: 'all' | 'errors'
  /** True when it serves. Asked again and again until then. */
  readonly isReady: () => Promise<boolean>
  readonly readyWithinMs: number
  /** How long it may take to end after SIGTERM. */
  readonly drainMs: number
}

export interface Child {
  readonly name: string
  readonly logFile: string
  readonly pid: number | undefined
  /** What the running process has written. */
  log(): string
  /** Sends a signal and, for SIGKILL, waits for the end; the supervisor does not take it for a failure. */
  kill(signal: NodeJS.Signals): Promise<void>
  /** Stops it if it runs, and starts it again with the same settings. */
  restart(): Promise<void>
  stop(): Promise<void>
  /** Resolves with a sentence and the last lines when it ends without having been told to. */
  readonly died: Promise<StartError>
}

/** Starts a program and waits until it is ready. @throws StartError with its own last lines when it is not */
export async function startChild(program: Program): Promise<Child> {
  const died = Promise.withResolvers<StartError>()
  let run = launch(program)

  const watch = (started: Run) => {
    started.ended
      .then(() => {
        if (!started.told) died.resolve(ended(program, started, 'ended unexpectedly'))
      })
      .catch(() => undefined)
  }
  const becomeReady = async (started: Run) => {
    try {
      await waitUntilReady(program, started)
    } catch (error) {
      started.told = true
      started.process.kill('SIGKILL')
      await started.ended
      throw error
    }
    watch(started)
  }
  const stop = async (started: Run) => {
    started.told = true
    if (!started.isOver) started.process.kill('SIGTERM')
    const timer = setTimeout(() => started.process.kill('SIGKILL'), program.drainMs)
    await started.ended
    clearTimeout(timer)
  }

  await becomeReady(run)
  return {
    name: program.name,
    logFile: program.logFile,
    get pid() {
      return run.isOver ? undefined : run.process.pid
    },
    log: () => run.log(),
    kill: async (signal) => {
      run.told = true
      run.process.kill(signal)
      if (signal === 'SIGKILL') await run.ended
    },
    restart: async () => {
      await stop(run)
      run = launch(program)
      await becomeReady(run)
    },
    stop: () => stop(run),
    died: died.promise,
  }
}

interface Run {
  readonly process: ChildProcess
  readonly ended: Promise<void>
  readonly isOver: boolean
  told: boolean
  log(): string
}

function launch(program: Program): Run {
  if (existsSync(program.logFile) && statSync(program.logFile).size > LOG_LIMIT_BYTES)
    renameSync(program.logFile, `${program.logFile}.1`)
  const output = openSync(program.logFile, 'a', 0o600)
  const start = statSync(program.logFile).size
  const child = spawn(process.execPath, ['--import', LEASH, program.main], {
    cwd: ROOT,
    env: { ...compileCache(), ...program.environment },
    detached: true,
    stdio: ['ignore', program.logs === 'all' ? output : 'ignore', output, 'ipc'],
  })
  closeSync(output)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  return {
    process: child,
    ended,
    get isOver() {
      return child.exitCode !== null || child.signalCode !== null || child.pid === undefined
    },
    told: false,
    log: () => readFileSync(program.logFile).subarray(start).toString('utf8'),
  }
}

/** Where Node keeps what it has compiled: a program that was started before starts in half of the time. */
export function compileCache(): Environment {
  const directory = process.env.NODE_COMPILE_CACHE
  return directory === undefined ? {} : { NODE_COMPILE_CACHE: directory }
}

async function waitUntilReady(program: Program, run: Run): Promise<void> {
  for (const end = Date.now() + program.readyWithinMs; Date.now() < end; await sleep(25)) {
    if (run.isOver) throw ended(program, run, 'did not start')
    if (await program.isReady()) return
  }
  throw new StartError(
    'child_not_ready',
    `${program.name} was not ready within ${program.readyWithinMs / 1000} s; its last lines (log: ${program.logFile}):\n${lastLines(run.log())}`,
  )
}

function ended(program: Program, { process: child, log }: Run, what: string): StartError {
  const how = child.signalCode === null ? `exit code ${child.exitCode}` : `signal ${child.signalCode}`
  return new StartError(
    'child_died',
    `${program.name} ${what} (${how}); its last lines (log: ${program.logFile}):\n${lastLines(log())}`,
  )
}

/** What it said to people (stderr), or else the last of its log. */
function lastLines(log: string): string {
  const lines = log.split('\n').filter((line) => line.trim() !== '')
  const plain = lines.filter((line) => !line.startsWith('{'))
  return (plain.length > 0 ? plain : lines)
    .slice(-8)
    .map((line) => `  ${line}`)
    .join('\n')
}

/** True when a GET is answered with 200. */
export async function answersOk(url: string, headers: Record<string, string> = {}): Promise<boolean> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(2_000) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}
