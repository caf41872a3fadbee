/**
 * Retention: what grows is kept for so many days and then dropped by whole days, which costs nothing however much a day
 * held. A day of events that an open or dead delivery needs stays, until the hard limit: then those deliveries expire,
 * counted and visible. Dropping gives way to whoever uses the tables, and ingest never waits for it longer than a
 * moment. A run that could not finish is taken up by the next, at once where its time was up. What fails holds nothing
 * else up: deliveries, identities and days are three steps.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Db, sqlState } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { RetentionDays } from './retention-days.ts'
import { type Day, deleteOldKeys, dropDay, findOldDays } from './retention-store.ts'

export interface RetentionNeeds {
  readonly db: Db
  readonly log: Log
  readonly days: RetentionDays
  /** Ends open and dead deliveries of events older than so many days; at most `limit`. @returns how many */
  readonly expireDeliveries: (olderThanDays: number, limit: number) => Promise<number>
  readonly monotonicMs: () => number
  /** Told when there is more than one run's share. */
  readonly unfinished: () => void
}

/** Pub/Sub repeats for seven days at most (protocols/google.md §2), Graph for four hours. */
export const KEY_DAYS = 8
const BATCH = 2_000
/** One run's share of each step: well below the lease of a chore, and the next run comes at once. */
const BUDGET_MS = 10_000
const TRIES = 10
const TRY_AGAIN_MS = 250

/** @throws what failed first, after all else was done */
export async function applyRetention(needs: RetentionNeeds): Promise<void> {
  const failures: unknown[] = []
  const step = async (name: string, work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      needs.log.warn({ step: name, ...errorFields(error) }, 'a step of retention failed')
      failures.push(error)
    }
  }
  const inBatches = async (what: string, work: (limit: number) => Promise<number>) => {
    let sum = 0
    const end = needs.monotonicMs() + BUDGET_MS
    await step(what, async () => {
      for (let last = BATCH; last >= BATCH; ) {
        if (needs.monotonicMs() > end) return needs.unfinished()
        last = await work(BATCH)
        sum += last
      }
    })
    if (sum > 0) needs.log.info({ [what]: sum }, 'retention: what was old is gone')
  }
  await inBatches('expired_deliveries', (limit) => needs.expireDeliveries(needs.days.hardLimit, limit))
  await inBatches('keys', (limit) => deleteOldKeys(needs.db, KEY_DAYS, limit))
  await step('days', () => dropDays(needs))
  if (failures.length > 0) throw failures[0]
}

async function dropDays(needs: RetentionNeeds): Promise<void> {
  const { days } = needs
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
  if (dropped.length > 0) needs.log.info({ dropped: dropped.join(', ') }, 'retention: what was old is gone')
  if (busy.length > 0)
    needs.log.warn({ busy: busy.join(', ') }, 'retention: days in use are dropped in the next run')
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
