/**
 * RE-14: a steady load with faults by turns, no process of the service ended: PostgreSQL killed, all its sessions ended,
 * storing held up, a burst of forgeries. What must hold: nothing acknowledged is lost, after each fault the oldest due
 * delivery is soon younger than five seconds, and neither memory nor open files grow.
 */
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { FaultResult, Print } from './faults.ts'
import { holdStoring } from './hold-storing.ts'
import { killPostgres } from './kill-postgres.ts'
import { costOf } from './process-cost.ts'
import { judge, RETRY_MS, type Receiving, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'

export interface Soak {
  /** Of all faults, one after the other. */
  readonly rounds: number
  readonly perSecond: number
  /** Of quiet after each fault. */
  readonly quietMs: number
  /** What a process may hold more in the later half of a run than in the earlier one; in a short run it still warms up. */
  readonly growthMib: number
}

const YOUNG_SECONDS = 5
const YOUNG_WITHIN_MS = 60_000
// the sender keeps the connections of a burst of repetitions for a minute; what leaks with each request is soon more
const FILES = 256
const HELD_MS = 4_000
const FORGERIES = 500

/** The long form. */
export const soakAtSize = (print: Print): Promise<FaultResult> =>
  withReceiving({}, (world) =>
    soak(world, { rounds: 10, perSecond: 50, quietMs: 9_000, growthMib: 32 }, print),
  )

export async function soak(world: Receiving, run: Soak, print: Print): Promise<FaultResult> {
  const faults: Record<string, () => Promise<unknown>> = {
    async killed() {
      await killPostgres(world.database)
      await world.database.start()
    },
    ended: () =>
      ask(
        world.databaseUrl,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'flovify-%'`,
      ),
    async held() {
      const letGo = await holdStoring(world.databaseUrl)
      await sleep(HELD_MS)
      await letGo()
    },
    async forged() {
      const url = `${world.door.webhooks}/webhook/events/microsoft/forged`
      for (let n = 0; n < FORGERIES; n += 1)
        await (await fetch(url, { method: 'POST', body: '{}' })).arrayBuffer()
    },
  }
  const pids = [world.door.child.pid ?? 0, world.worker.child.pid ?? 0]
  const sender = startSender([world.door], world.seeded, run.perSecond, RETRY_MS)
  const young: Record<string, number[]> = {}
  const samples: { mib: number[]; files: number[] }[] = []
  await sleep(run.quietMs)
  for (let round = 1; round <= run.rounds; round += 1) {
    for (const [name, inject] of Object.entries(faults)) {
      await inject()
      const overAt = Date.now()
      while (
        (await oldestDueSeconds(world.databaseUrl)) >= YOUNG_SECONDS &&
        Date.now() - overAt < 2 * YOUNG_WITHIN_MS
      )
        await sleep(100)
      young[name] = [...(young[name] ?? []), Date.now() - overAt]
      await sleep(run.quietMs)
      samples.push({
        mib: await Promise.all(pids.map(async (pid) => (await costOf(pid))?.residentMb ?? 0)),
        files: await Promise.all(pids.map(async (pid) => (await readdir(`/proc/${pid}/fd`)).length)),
      })
    }
    print(`round ${round} of ${run.rounds}: ${JSON.stringify(samples.at(-1))}`)
  }
  const { ledger } = await sender.stop()
  const judged = await judge(world, ledger)
  const problems = [...judged.problems]
  for (const [name, all] of Object.entries(young))
    if (Math.max(...all) > YOUNG_WITHIN_MS)
      problems.push(`${name}: deliveries were old for ${Math.max(...all)} ms`)
  // the first round is what the processes need to warm up
  const later = samples.length > 8 ? samples.slice(4) : samples
  const half = Math.ceil(later.length / 2)
  const growth = pids.map((_, at) => {
    const of = (part: typeof samples, what: 'mib' | 'files') =>
      part.reduce((sum, sample) => sum + (sample[what][at] ?? 0), 0) / part.length
    const [first, second] = [later.slice(0, half), later.slice(half)]
    return {
      mib: Math.round(of(second, 'mib') - of(first, 'mib')),
      files: Math.round(of(second, 'files') - of(first, 'files')),
    }
  })
  for (const { mib, files } of growth) {
    if (mib > run.growthMib) problems.push(`memory grew by ${mib} MiB`)
    if (files > FILES) problems.push(`${files} more files are open`)
  }
  if (pids.some((pid, at) => pid !== [world.door, world.worker][at]?.child.pid))
    problems.push('a process of the service was started anew')
  return {
    problems,
    figures: {
      ...judged.figures,
      ...{ faults: samples.length, growth, first: later[0], last: samples.at(-1) },
      longestUntilYoungMs: Object.fromEntries(
        Object.entries(young).map(([name, all]) => [name, Math.max(...all)]),
      ),
    },
  }
}

async function oldestDueSeconds(databaseUrl: string): Promise<number> {
  const rows = await ask(
    databaseUrl,
    `select extract(epoch from auth.clock() - min(due_at)) seconds from auth.deliveries
      where state = 'open' and due_at <= auth.clock()`,
  )
  return Number(rows[0]?.seconds ?? 0)
}

async function ask(databaseUrl: string, text: string): Promise<{ seconds?: string | null }[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<{ seconds?: string | null }>(text)).rows
  } finally {
    await client.end()
  }
}
