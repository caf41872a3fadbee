/**
 * Ends what was to go to a destination that has been deleted. Deleting cancels the first thousands with its own
 * transaction, so that a small backlog is gone at once; the rest is a chore's, chunk by chunk, each committed by itself:
 * whoever stops in between has lost nothing. What comes due meanwhile is cancelled by whoever claims it.
 */
import type { Db } from '../db/sql.ts'
import { monotonicMs } from '../platform/clock.ts'
import { cancelDeliveriesOf, findDeletedWithDeliveries } from './cancel-store.ts'
import { ensureToday } from './settle-store.ts'

/** Of one statement: about a tenth of a second. */
export const CANCELLED_AT_ONCE = 5_000
/** Well below the lease of a chore; the next run goes on. */
const BUDGET_MS = 20_000

/** @returns how many were cancelled */
export async function cancelLeftovers(db: Db): Promise<number> {
  const end = monotonicMs() + BUDGET_MS
  let cancelled = 0
  for (const { id } of await findDeletedWithDeliveries(db)) {
    await ensureToday(db)
    for (let last = 1; last > 0 && monotonicMs() < end; ) {
      last = await cancelDeliveriesOf(db, id, CANCELLED_AT_ONCE)
      cancelled += last
    }
  }
  return cancelled
}
