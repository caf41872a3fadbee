/**
 * F6, RE-05: PostgreSQL is slow, all connections wait for a lock, and a deadlock is made with the storing statement. What
 * must hold: an answer within two and a half seconds, 2xx or 503; no 2xx without a commit; the deadlock reaches no caller
 * as anything else; memory stays bounded; and each time it recovers by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type DatabaseProxy, openDatabaseProxy } from '../../auth/test/http/database-proxy.ts'
import type { FaultResult, Print } from './faults.ts'
import { holdStoring } from './hold-storing.ts'
import { costOf } from './process-cost.ts'
import { judge, RETRY_MS, type Receiving, slowestRefusalMs, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'

export interface SlowDatabase {
  readonly rounds: number
  readonly perSecond: number
  /** How long each fault lasts. */
  readonly faultMs: number
  readonly answerMs: number
}

const LATE_MS = 2_000
const RECOVERED_WITHIN_MS = 15_000
const GROWTH_MIB = 64

/** The long form. */
export const slowDatabaseAtSize = (print: Print): Promise<FaultResult> =>
  withSlowDatabase((world, proxy) =>
    slowDown(world, proxy, { rounds: 12, perSecond: 100, faultMs: 12_000, answerMs: 2_500 }, print),
  )

export async function withSlowDatabase<T>(
  work: (world: Receiving, proxy: DatabaseProxy) => Promise<T>,
): Promise<T> {
  let proxy: DatabaseProxy | undefined
  const seenAt = async (url: string) => {
    proxy = await openDatabaseProxy(url)
    return proxy.url(url)
  }
  try {
    return await withReceiving({ seenAt }, (world) => {
      if (proxy === undefined) throw new Error('there is no proxy')
      return work(world, proxy)
    })
  } finally {
    await proxy?.close()
  }
}

export async function slowDown(
  world: Receiving,
  proxy: DatabaseProxy,
  fault: SlowDatabase,
  print: Print,
): Promise<FaultResult> {
  const faults: Record<string, () => Promise<void>> = {
    async slow() {
      proxy.slow(LATE_MS)
      await sleep(fault.faultMs)
      await proxy.up()
    },
    async exhausted() {
      const letGo = await holdStoring(world.databaseUrl)
      await sleep(fault.faultMs)
      await letGo()
    },
    deadlock: () => deadlock(world.databaseUrl),
  }
  const sender = startSender([world.door], world.seeded, fault.perSecond, RETRY_MS)
  const problems: string[] = []
  const recoveries: Record<string, number[]> = {}
  const memory: number[] = []
  await sleep(1_000)
  for (let round = 0; round < fault.rounds; round += 1) {
    for (const [name, inject] of Object.entries(faults)) {
      await inject()
      const overAt = Date.now()
      // what is sent from now on, not what a retry brings
      const next = sender.ledger.sent.size + 1
      while (!sender.ledger.acknowledged.has(next) && Date.now() - overAt < 60_000) await sleep(5)
      recoveries[name] = [...(recoveries[name] ?? []), Date.now() - overAt]
      memory.push((await costOf(world.door.child.pid ?? 0))?.residentMb ?? 0)
    }
    print(`round ${round + 1} of ${fault.rounds}: ${JSON.stringify(recoveries)}`)
  }
  const { ledger } = await sender.stop()
  const judged = await judge(world, ledger)
  const slowest = slowestRefusalMs(ledger)
  const refused = Number((judged.figures.refused as Record<string, number>)['503'] ?? 0)
  const deadlocks = await countDeadlocks(world.databaseUrl)
  if (slowest > fault.answerMs) problems.push(`a refusal took ${slowest} ms, of ${fault.answerMs} allowed`)
  if (refused === 0) problems.push('nobody was refused: the faults did not reach the door')
  if (deadlocks === 0) problems.push('PostgreSQL saw no deadlock')
  for (const [name, all] of Object.entries(recoveries))
    if (Math.max(...all) > RECOVERED_WITHIN_MS)
      problems.push(`${name}: not back within 15 s: ${all.join(', ')}`)
  const half = Math.ceil(memory.length / 2)
  const [before, after] = [Math.max(...memory.slice(0, half)), Math.max(...memory.slice(half))]
  if (after - before > GROWTH_MIB) problems.push(`memory grew from ${before} to ${after} MiB`)
  return {
    problems: [...judged.problems, ...problems],
    figures: {
      ...judged.figures,
      ...{ slowestRefusalMs: slowest, deadlocks, memoryMib: { before, after } },
      longestRecoveryMs: Object.fromEntries(
        Object.entries(recoveries).map(([name, all]) => [name, Math.max(...all)]),
      ),
    },
  }
}

/** Two tables in the opposite order of the storing statement, which already has the one and waits for the other. */
async function deadlock(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query('begin; lock table auth.deliveries in exclusive mode')
    await sleep(400)
    await client.query('lock table auth.notifications in exclusive mode; commit')
  } catch (error) {
    // whom PostgreSQL chooses is its own business
    if (!(error instanceof Error && 'code' in error && error.code === '40P01')) throw error
  } finally {
    await client.end()
  }
}

async function countDeadlocks(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  await client.end()
  return Number(rows[0]?.deadlocks ?? 0)
}
