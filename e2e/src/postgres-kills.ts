/**
 * F3, RE-02: PostgreSQL and all its processes are killed (SIGKILL) again and again under load. What must hold: nothing
 * acknowledged is lost, while it is away the answer is 503 within two and a half seconds, and the service finds it again
 * by itself. The same with `synchronous_commit=off`, set behind the back of the start check, has to be seen as loss: a
 * checker that cannot fail proves nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { FaultResult, Print } from './faults.ts'
import { holdStoring } from './hold-storing.ts'
import { killPostgres } from './kill-postgres.ts'
import { isAcknowledgement } from './ledgers.ts'
import { judge, RETRY_MS, type Receiving, slowestRefusalMs, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'

export interface PostgresKills {
  readonly kills: number
  readonly perSecond: number
  /** From one kill to the next. */
  readonly everyMs: number
  readonly downMs: number
  /** How long deliveries are waited for in the end. */
  readonly deliveredWithinMs?: number
}

const ANSWER_MS = 2_500
const RECOVERED_WITHIN_MS = 10_000
const HELD_MS = 300

/** Nothing is written before somebody asks for it: what a commit does not wait for is in memory alone. */
export const LATE_WRITER = { wal_writer_delay: '10s', wal_writer_flush_after: '1GB' }

/** Short, since what is lost is never delivered. */
export const LOSSY = { everyMs: 4_000, downMs: 500, deliveredWithinMs: 2_000 }

/** The long form. */
export async function postgresKillsAtSize(print: Print): Promise<FaultResult> {
  const durable = await withReceiving({}, (world) =>
    killTheDatabase(world, { kills: 10, perSecond: 100, everyMs: 15_000, downMs: 3_000 }, print),
  )
  print('the same with synchronous_commit=off')
  const lossy = await withReceiving({ settings: LATE_WRITER }, async (world) => {
    await stopWaitingForTheDisk(world.databaseUrl)
    return killTheDatabase(world, { ...LOSSY, kills: 2, perSecond: 200 }, print)
  })
  const seen = lossy.problems.find((problem) => problem.startsWith(LOST))
  return {
    problems: [
      ...durable.problems,
      ...(seen === undefined ? ['loss with synchronous_commit=off was not seen'] : []),
    ],
    figures: { ...durable.figures, withoutSynchronousCommit: lossy.problems },
  }
}

export const LOST = 'acknowledged but not stored'

export async function killTheDatabase(
  world: Receiving,
  fault: PostgresKills,
  print: Print,
): Promise<FaultResult> {
  const sender = startSender([world.door], world.seeded, fault.perSecond, RETRY_MS)
  const pids = [world.door.child.pid, world.worker.child.pid]
  const recovered: number[] = []
  const down: [from: number, until: number][] = []
  for (let n = 1; n <= fault.kills; n += 1) {
    await sleep(fault.everyMs)
    const letGo = await holdStoring(world.databaseUrl)
    await sleep(HELD_MS)
    await killPostgres(world.database)
    const from = Date.now()
    await letGo()
    await sleep(fault.downMs)
    down.push([from, Date.now()])
    await world.database.start()
    const upAt = Date.now()
    const before = sender.ledger.acknowledged.size
    while (sender.ledger.acknowledged.size === before && Date.now() - upAt < 60_000) await sleep(5)
    recovered.push(Date.now() - upAt)
    print(`kill ${n} of ${fault.kills}: acknowledged again after ${recovered.at(-1)} ms`)
  }
  await sleep(1_000)
  const { ledger } = await sender.stop()
  const { problems: found, figures } = await judge(world, ledger, fault)
  const problems = [...found]
  const answers = [...ledger.sent.values()].flat()
  const whileDown = answers.filter(({ sentAt, answeredAt }) =>
    down.some(([from, until]) => sentAt >= from && answeredAt <= until),
  )
  if (whileDown.length === 0) problems.push('nobody asked while the database was down')
  if (whileDown.some(({ status }) => isAcknowledgement(status)))
    problems.push('acknowledged while the database was down')
  const slowest = slowestRefusalMs(ledger)
  if (slowest > ANSWER_MS) problems.push(`a refusal took ${slowest} ms, of ${ANSWER_MS} allowed`)
  const late = recovered.filter((ms) => ms > RECOVERED_WITHIN_MS)
  if (late.length > 0) problems.push(`not back within ten seconds: ${late.join(', ')} ms`)
  if (world.door.child.pid !== pids[0] || world.worker.child.pid !== pids[1])
    problems.push('a process of the service was started anew')
  return {
    problems,
    figures: {
      ...figures,
      kills: recovered.length,
      longestRecoveryMs: Math.max(...recovered),
      refusedWhileDown: whileDown.length,
      slowestRefusalMs: slowest,
    },
  }
}

/** For all sessions, those that are open too; it outlives a crash. */
export async function stopWaitingForTheDisk(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query('alter system set synchronous_commit = off')
  await client.query('select pg_reload_conf()')
  await client.end()
}
