/**
 * F7, RE-05: the disk of PostgreSQL is full. What must hold: 503 while nothing can be stored, nothing acknowledged is lost
 * or damaged, and when there is room again the service goes on by itself. A PostgreSQL that gave up (it cannot write its
 * log) is started again, as whoever supervises it would.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { isRunning } from '../../local/src/postmaster.ts'
import type { FaultResult, Print } from './faults.ts'
import { openSmallDisk, type SmallDisk } from './full-disk.ts'
import { judge, RETRY_MS, type Receiving, slowestRefusalMs, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'

export interface DiskFull {
  readonly rounds: number
  readonly perSecond: number
  readonly fullMs: number
  readonly betweenMs: number
}

const RECOVERED_WITHIN_MS = 30_000
const FULL_WITHIN_MS = 60_000
/** More than the limit on files, in the table that holds bodies. */
const FILLING = { count: 80, bytes: 250_000 }
const PADDING = 8_000
const RELAY_SECRET = randomBytes(32).toString('base64url')

/** The long form. */
export const diskFullAtSize = (print: Print): Promise<FaultResult> =>
  onSmallDisk(undefined, (world, disk) =>
    fillTheDisk(world, disk, { rounds: 10, perSecond: 50, fullMs: 15_000, betweenMs: 15_000 }, print),
  )

export async function onSmallDisk<T>(
  kind: SmallDisk['kind'] | undefined,
  work: (world: Receiving, disk: SmallDisk) => Promise<T>,
): Promise<T> {
  const disk = await openSmallDisk(kind)
  const settings = { max_wal_size: '64MB', min_wal_size: '32MB' }
  const environment = { MICROSOFT_WEBHOOK_SECRET: RELAY_SECRET }
  try {
    return await withReceiving({ dataDir: disk.directory, settings, environment }, (world) =>
      work(world, disk),
    )
  } finally {
    await disk.close()
  }
}

export async function fillTheDisk(
  world: Receiving,
  disk: SmallDisk,
  fault: DiskFull,
  print: Print,
): Promise<FaultResult> {
  const body = (n: number) => padded(world.seeded.notification(n), n, PADDING)
  if (disk.kind === 'limit') await fillBodies(world)
  const sender = startSender(
    [world.door],
    { ...world.seeded, notification: (n) => body(Number(n)) },
    fault.perSecond,
    RETRY_MS,
  )
  const refused = () => [...sender.ledger.sent.values()].flat().filter(({ status }) => status === 503).length
  const problems: string[] = []
  const recoveries: number[] = []
  let startedAnew = 0
  for (let round = 1; round <= fault.rounds; round += 1) {
    await sleep(fault.betweenMs)
    const before = refused()
    await disk.fill(world.database)
    for (const end = Date.now() + FULL_WITHIN_MS; refused() === before && Date.now() < end; ) await sleep(50)
    if (refused() === before) problems.push('a full disk was not noticed by anybody')
    await sleep(fault.fullMs)
    await disk.free(world.database)
    const freedAt = Date.now()
    const next = sender.ledger.sent.size + 1
    while (!sender.ledger.acknowledged.has(next) && Date.now() - freedAt < 2 * RECOVERED_WITHIN_MS) {
      if (!isRunning(world.database.pid)) {
        startedAnew += 1
        await world.database.start()
      }
      await sleep(20)
    }
    recoveries.push(Date.now() - freedAt)
    print(`round ${round}: acknowledged again ${recoveries.at(-1)} ms after there was room`)
  }
  const { ledger } = await sender.stop()
  const judged = await judge(world, ledger, { body })
  const late = recoveries.filter((ms) => ms > RECOVERED_WITHIN_MS)
  if (late.length > 0) problems.push(`not back within 30 s: ${late.join(', ')} ms`)
  const damaged = await damagedPages(world.databaseUrl)
  if (damaged !== 0) problems.push(`${damaged} pages are damaged`)
  return {
    problems: [...judged.problems, ...problems],
    figures: {
      ...judged.figures,
      ...{ disk: disk.kind, rounds: recoveries.length, longestRecoveryMs: Math.max(...recoveries) },
      ...{ postgresStartedAnew: startedAnew, slowestRefusalMs: slowestRefusalMs(ledger) },
    },
  }
}

/** The same notification with a member that nobody knows, of letters that cannot be pressed together. */
function padded(notification: Buffer, n: number | string, bytes: number): Buffer {
  let padding = ''
  for (let at = 0; padding.length < bytes; at += 1)
    padding += createHash('sha512').update(`${n} ${at}`).digest('base64url')
  const text = notification.toString()
  return Buffer.from(text.replace('{"value":[{', `{"value":[{"padding":"${padding.slice(0, bytes)}",`))
}

/** By the relay form, so that the limit is reached by what comes after it; no rule sends it on. */
async function fillBodies({ door }: Receiving): Promise<void> {
  for (let n = 0; n < FILLING.count; n += 1) {
    const body = randomBytes(FILLING.bytes)
    const answer = await fetch(`${door.webhooks}/webhook/events/microsoft`, {
      method: 'POST',
      headers: { 'x-ms-signature': createHmac('sha256', RELAY_SECRET).update(body).digest('hex') },
      body: new Uint8Array(body),
    })
    if (answer.status !== 200) throw new Error(`filling was answered ${answer.status}`)
  }
}

/** Pages whose checksum was wrong when they were read; PostgreSQL 18 keeps checksums unless told otherwise. */
async function damagedPages(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<{ n: string | null }>(
      'select sum(checksum_failures) n from pg_stat_database',
    )
    return Number(rows[0]?.n ?? 0)
  } finally {
    await client.end()
  }
}
