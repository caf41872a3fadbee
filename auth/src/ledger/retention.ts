/**
 * Retention: what grows is kept for so many days and then dropped by whole days, which costs nothing however much a day
 * held. A day of events that an open or dead delivery needs stays, until the hard limit: then those deliveries expire,
 * counted and visible. Dropping gives way to whoever uses the tables, and ingest never waits for it longer than a
 * moment. A run that could not finish is taken up by the next.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Db, sqlState } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import type { RetentionDays } from './retention-days.ts'
import { type Day, deleteOldKeys, dropDay, findOldDays } from './retention-store.ts'

export interface RetentionNeeds {
  readonly db: Db
  readonly log: Log
  readonly days: RetentionDays
  /** Ends open and dead deliveries of events older than so many days; at most `limit`. @returns how many */
  readonly expireDeliveries: (olderThanDays: number, limit: number) => Promise<number>
}

/** Pub/Sub repeats for seven days at most (protocols/google.md §2), Graph for four hours. */
export const KEY_DAYS = 8
const BATCH = 2_000
/** One run's share: half a minute of a lease of sixty seconds, which heartbeats extend. */
const MOST_BATCHES = 500
const TRIES = 10
const TRY_AGAIN_MS = 250

export async function applyRetention(needs: RetentionNeeds): Promise<void> {
  const { days } = needs
  const expired = await inBatches((limit) => needs.expireDeliveries(days.hardLimit, limit))
  const keys = await inBatches((limit) => deleteOldKeys(needs.db, KEY_DAYS, limit))
  const keep = {
    events: days.events,
    notifications: days.bodies,
    attempts: days.events,
    delivery_outcomes: days.events,
  }
  const dropped: string[] = []
  const busy: string[] = []
  for (const day of await findOldDays(needs.db, keep, days.hardLimit)) {
    // who uses one day of a table uses the table: it has had its tries
    if (busy.some((one) => one.startsWith(`${day.parent} `))) continue
    const outcome = await drop(needs.db, day)
    if (outcome === 'dropped') dropped.push(`${day.parent} ${day.day}`)
    if (outcome === 'busy') busy.push(`${day.parent} ${day.day}`)
  }
  if (dropped.length + expired + keys > 0)
    needs.log.info(
      { dropped: dropped.join(', '), expired_deliveries: expired, keys },
      'retention: what was old is gone',
    )
  if (busy.length > 0)
    needs.log.warn({ busy: busy.join(', ') }, 'retention: days in use are dropped in the next run')
}

async function inBatches(work: (limit: number) => Promise<number>): Promise<number> {
  let sum = 0
  for (let i = 0; i < MOST_BATCHES; i += 1) {
    const count = await work(BATCH)
    sum += count
    if (count < BATCH) break
  }
  return sum
}

async function drop(db: Db, day: Day): Promise<'dropped' | 'gone' | 'busy'> {
  for (let i = 0; i < TRIES; i += 1) {
    try {
      return (await dropDay(db, day)) ? 'dropped' : 'gone'
    } catch (error) {
      if (sqlState(error) !== '55P03') throw error
      await sleep(TRY_AGAIN_MS)
    }
  }
  return 'busy'
}
