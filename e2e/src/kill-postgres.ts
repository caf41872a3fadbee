/** Ends a PostgreSQL as a crash would: its postmaster and all its children by SIGKILL, nothing written any more. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedDatabase } from '../../local/src/database.ts'
import { isRunning } from '../../local/src/postmaster.ts'

/** As the kernel's out-of-memory killer would do it to all of them at once. @throws when one of them survives */
export async function killPostgres({ pid }: EmbeddedDatabase): Promise<void> {
  const all = [pid, ...childrenOf(pid)]
  for (const one of all) {
    try {
      process.kill(one, 'SIGKILL')
    } catch {
      // a child that has ended meanwhile
    }
  }
  for (const end = Date.now() + 5_000; all.some(isRunning) && Date.now() < end; ) await sleep(10)
  if (all.some(isRunning)) throw new Error('a process of PostgreSQL survived SIGKILL')
}

export function childrenOf(pid: number): number[] {
  if (platform() === 'linux')
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
      .map(Number)
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  return lines
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0)
}

/** Fourth field of `/proc/<pid>/stat`; the second one may hold blanks and brackets. */
function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
