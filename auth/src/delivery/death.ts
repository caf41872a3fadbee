/**
 * The end of a delivery that failed for good: attempt, state and the event that tells of it are one transaction. The row
 * keeps its place and its payload, and can be retried. No event tells of the death of an event about a destination: two
 * destinations that are told of each other would feed themselves for ever.
 */
import type { Database, Transaction } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { subjectOf } from './health.ts'
import { loadSending, type Sending } from './sending-store.ts'
import { type Attempt, type DeathReason, settleDead, settlePoison } from './settle-store.ts'
import type { DeliveryRow } from './store.ts'

export interface DeathNeeds {
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly metrics: Metrics
  readonly log: Log
}

/** @returns false when the lease was no longer ours: nothing happened */
export function bury(
  needs: DeathNeeds,
  row: DeliveryRow,
  sending: Sending,
  attempt: Attempt,
  reason: Exclude<DeathReason, 'poison'>,
): Promise<boolean> {
  const dead = { ...row, attempts: row.attempts + 1 }
  return end(needs, dead, sending, reason, (tx) => settleDead(tx, row, attempt, reason))
}

/** A delivery whose work ends the process whenever it is tried. */
export async function buryPoison(needs: DeathNeeds, row: DeliveryRow): Promise<void> {
  const sending = await loadSending(needs.db, row)
  await end(needs, row, sending, 'poison', (tx) => settlePoison(tx, row))
}

async function end(
  needs: DeathNeeds,
  row: DeliveryRow,
  sending: Sending | undefined,
  reason: DeathReason,
  settle: (tx: Transaction) => Promise<boolean>,
): Promise<boolean> {
  const settled = await needs.db.transaction(async (tx) => {
    if (!(await settle(tx))) return false
    if (sending?.about_destination === false) await needs.ledger.record(tx, [tellingOf(row, sending, reason)])
    return true
  })
  if (!settled) return false
  needs.metrics.deliveries(row.destination_id, 'dead')
  needs.log.error(
    { delivery: row.id, event: row.event_id, destination: row.destination_id, reason },
    'a delivery is dead',
  )
  return true
}

function tellingOf(row: DeliveryRow, sending: Sending, reason: DeathReason) {
  return {
    type: 'destination.v1.exhausted',
    area: 'lifecycle',
    subject: subjectOf(row.destination_id),
    data: {
      destination: { id: row.destination_id, name: sending.destination.name },
      delivery: row.id,
      event: row.event_id,
      attempts: row.attempts,
      reason,
    },
  } as const
}
