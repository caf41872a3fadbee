/**
 * What faults of receiving are done to: a PostgreSQL of its own, a real process that receives (door), another one that
 * works, a receiver that keeps everything, and one account whose notifications are sent. The ledgers of what was
 * acknowledged and of what arrived are kept here, outside the system; `judge` holds them against the database.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedDatabase } from '../../local/src/database.ts'
import { embedDatabase } from '../../local/src/database.ts'
import { freePort } from '../../local/src/free-port.ts'
import { type Receipt, type Receiver, startReceiver } from '../../local/src/receiver.ts'
import { type AuthUnderFault, startAuthUnderFault } from './auth-process.ts'
import type { FaultResult } from './faults.ts'
import { balance, isAcknowledgement, readStored, type SenderLedger, waitForDeliveries } from './ledgers.ts'
import { addReceiver } from './restarts.ts'
import { type Seeded, seedSubscription } from './seed.ts'

export interface ReceivingOptions {
  /** Where the data of PostgreSQL lies; a directory of its own unless given. */
  readonly dataDir?: string
  /** Of PostgreSQL. */
  readonly settings?: Readonly<Record<string, string>>
  /** Where Auth finds the database, when there is something in between. */
  readonly seenAt?: (databaseUrl: string) => Promise<string>
  /** Of both processes of Auth. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Receiving {
  readonly databaseUrl: string
  readonly database: EmbeddedDatabase
  readonly door: AuthUnderFault
  readonly worker: AuthUnderFault
  readonly receiver: Receiver
  readonly seeded: Seeded
}

const DELIVERED_WITHIN_MS = 120_000
/** Between two tries of a sender: hundreds wait together while nobody answers. */
export const RETRY_MS = 400

export async function withReceiving<T>(
  options: ReceivingOptions,
  work: (world: Receiving) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-receiving-'))
  const closing: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })]
  try {
    const database = await embedDatabase(options.dataDir ?? directory, directory, options.settings)
    const { embedded } = database
    if (embedded === undefined) throw new Error('these faults need the embedded PostgreSQL')
    closing.push(() => database.stop().catch(() => undefined))
    const receiverPort = await freePort()
    const common = {
      databaseUrl: (await options.seenAt?.(database.url)) ?? database.url,
      directory,
      receiverPort,
      receiverPath: '/hooks',
      ...(options.environment !== undefined && { environment: options.environment }),
    }
    const door = await startAuthUnderFault({ ...common, role: 'door', name: 'door' })
    closing.push(() => door.stop())
    const worker = await startAuthUnderFault({
      ...common,
      role: 'work',
      name: 'worker',
      secrets: door.secrets,
    })
    closing.push(() => worker.stop())
    const secret = await addReceiver(door, receiverPort)
    const receiver = await startReceiver({ secret, port: receiverPort, keep: 1_000_000 })
    closing.push(() => receiver.close())
    const seeded = await seedSubscription(database.url, door.secrets.encryptionKey)
    return await work({ databaseUrl: database.url, database: embedded, door, worker, receiver, seeded })
  } finally {
    for (const close of closing.reverse()) await close()
  }
}

/**
 * Both ledgers against the database: nothing acknowledged is lost, nothing is stored twice, nothing was answered otherwise.
 * @param only which deliveries belong to the ledger
 */
export async function judge(
  world: Receiving,
  ledger: SenderLedger,
  { body = world.seeded.notification, deliveredWithinMs = DELIVERED_WITHIN_MS, only = anything } = {},
): Promise<FaultResult> {
  await waitForDeliveries(ledger, () => world.receiver.received(), deliveredWithinMs)
  const stored = await readStored(world.databaseUrl, world.seeded.connectionId)
  const receipts = world.receiver.received().filter(only)
  const { problems: found, ...figures } = balance(ledger, body, stored, receipts)
  const problems = [...found]
  const other = Object.keys(figures.refused).filter((status) => !['0', '503'].includes(status))
  if (other.length > 0) problems.push(`answers other than 2xx and 503: ${other.join(', ')}`)
  if (figures.acknowledged !== figures.sent)
    problems.push(`${figures.sent - figures.acknowledged} were never acknowledged`)
  return { problems, figures }
}

const anything = (_receipt: Receipt) => true

/** Milliseconds until the slowest answer that was no acknowledgement; broken connections are not answers. */
export function slowestRefusalMs({ sent }: SenderLedger): number {
  let slowest = 0
  for (const { status, sentAt, answeredAt } of [...sent.values()].flat())
    if (status !== 0 && !isAcknowledgement(status)) slowest = Math.max(slowest, answeredAt - sentAt)
  return slowest
}
