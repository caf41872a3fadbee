/**
 * What processes cost: CPU time of one process or of a whole PostgreSQL (postmaster and its backends), and resident
 * memory, read from `/proc`. Where there is no `/proc` (not Linux) nothing is measured, and the result says so.
 */
import { readdir, readFile } from 'node:fs/promises'

/** Of Linux on all machines that Node runs on (`getconf CLK_TCK`). */
const TICK_MS = 10

export interface ProcessCost {
  readonly cpuMs: number
  /** Of its children that have ended. */
  readonly endedMs: number
  readonly residentMb: number
}

/** @returns undefined where it cannot be measured */
export async function costOf(pid: number): Promise<ProcessCost | undefined> {
  const stat = await read(`/proc/${pid}/stat`)
  const status = await read(`/proc/${pid}/status`)
  if (stat === undefined || status === undefined) return undefined
  // the name in parentheses may hold spaces
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const resident = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0)
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    endedMs: (Number(fields[13]) + Number(fields[14])) * TICK_MS,
    residentMb: Math.round(resident / 1024),
  }
}

/** The process and its children: a PostgreSQL by the pid of its postmaster. Shared memory is counted in each of them. */
export async function costOfFamily(pid: number): Promise<ProcessCost | undefined> {
  const parent = await costOf(pid)
  if (parent === undefined) return undefined
  let { residentMb } = parent
  // a connection that ends takes its process along, and what it cost must not be missing then
  let cpuMs = parent.cpuMs + parent.endedMs
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    if ((await parentOf(Number(entry))) !== pid) continue
    const cost = await costOf(Number(entry))
    cpuMs += cost?.cpuMs ?? 0
    residentMb = Math.max(residentMb, cost?.residentMb ?? 0)
  }
  return { cpuMs, endedMs: parent.endedMs, residentMb }
}

/** @returns undefined where it is not known */
export async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await read(`/proc/${pid}/stat`)
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

const read = (path: string) => readFile(path, 'utf8').catch(() => undefined)
