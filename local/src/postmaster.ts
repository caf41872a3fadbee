/**
 * What `postmaster.pid` and the operating system say about a running server: is there one on this data directory,
 * is it really PostgreSQL, and how it is told to stop. It never signals a process that it has not recognised:
 * a stale file may name a number that somebody else's process has got since.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** `fast` ends sessions and writes a checkpoint; `immediate` is a crash that the next start recovers from. */
export type StopMode = 'fast' | 'immediate'

/**
 * The server that runs on this data directory, if one does.
 * Layout of the file: PostgreSQL documentation, "Database File Layout", and `src/include/utils/pidfile.h`.
 */
export function findPostmaster(dataDir: string): Postmaster | undefined {
  const lines = readPidFile(dataDir)
  const pid = Number(lines?.[0])
  const port = Number(lines?.[3])
  if (!Number.isInteger(pid) || pid <= 0 || !Number.isInteger(port)) return undefined
  return isRunning(pid) && isServerOf(pid, dataDir) ? { pid, port } : undefined
}

/** True while the process exists; a zombie that nobody has collected counts as gone. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
  if (platform() !== 'linux') return true
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false
  }
}

/** Stops a recognised server, harder when it does not follow; resolves when its process is gone. */
export async function stopPostmaster(pid: number, mode: StopMode): Promise<void> {
  const steps: [NodeJS.Signals, number][] =
    mode === 'fast'
      ? [
          ['SIGINT', 30_000],
          ['SIGQUIT', 5_000],
          ['SIGKILL', 5_000],
        ]
      : [
          ['SIGQUIT', 10_000],
          ['SIGKILL', 5_000],
        ]
  for (const [signal, patienceMs] of steps) {
    if (!send(pid, signal)) return
    if (await isGoneWithin(pid, patienceMs)) return
  }
  throw Object.assign(new Error(`process ${pid} survived SIGKILL`), { code: 'postmaster_unkillable' })
}

async function isGoneWithin(pid: number, patienceMs: number): Promise<boolean> {
  for (const end = Date.now() + patienceMs; Date.now() < end; await sleep(10))
    if (!isRunning(pid)) return true
  return !isRunning(pid)
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
    throw error
  }
}

/** The postmaster keeps the command line it was started with (its children rename themselves). */
function isServerOf(pid: number, dataDir: string): boolean {
  const line = commandLine(pid)
  return line.includes('postgres') && line.includes(dataDir)
}

function commandLine(pid: number): string {
  try {
    if (platform() === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' })
  } catch {
    return ''
  }
}

function readPidFile(dataDir: string): string[] | undefined {
  try {
    return readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')
  } catch {
    return undefined
  }
}
