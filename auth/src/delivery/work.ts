/**
 * The kind of due row called `deliveries`: one row is one event for one destination. It makes an attempt, writes it with
 * the new state, and lets the destination's health be judged. It never settles what it cut off itself.
 */
import type { Database } from '../db/sql.ts'
import { openTogether, type Together } from '../db/together.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { monotonicMs } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { extendLease, releaseLease } from '../work/due.ts'
import type { WorkKind } from '../work/work.ts'
import { type AttemptNeeds, type AttemptResult, attemptDelivery } from './attempt.ts'
import { bury, buryPoison } from './death.ts'
import { type Delivered, settleDelivered } from './delivered-store.ts'
import { type OpenForAttempt, openRemembered } from './destination-attempt.ts'
import { type Health, openHealth } from './health.ts'
import type { Pace } from './pace.ts'
import { nextTry, retryAfterMs } from './schedule.ts'
import { loadSendings, type Sending } from './sending-store.ts'
import { settleAgain } from './settle-again.ts'
import { settleDueAgain, settleUnsent } from './settle-store.ts'
import { claimDueDeliveries, type DeliveryRow } from './store.ts'

export interface DeliveryWorkNeeds extends AttemptNeeds {
  /** The worker's pool: the claim takes a transaction. */
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly metrics: Metrics
  readonly log: Log
  readonly pace: Pick<Pace, 'restMs'>
  /** Uniform in [0, 1). */
  readonly random: () => number
}

export function deliveryWork(needs: DeliveryWorkNeeds): WorkKind<DeliveryRow> {
  const health = openHealth(needs)
  const shared: Shared = {
    open: openRemembered(needs.vault, monotonicMs),
    load: openTogether((rows) => loadSendings(needs.db, rows), SHARED),
    settle: openTogether((group) => settleDelivered(needs.db, group), { ...SHARED, gatherMs: 10 }),
  }
  return {
    name: 'deliveries',
    leaseSeconds: 45,
    batch: 200,
    concurrency: 600,
    restMs: needs.pace.restMs,
    claim: (_db, lease) => claimDueDeliveries(needs.db, lease),
    extend: (db, row, seconds) => extendLease(db, 'auth.deliveries', row, seconds),
    release: (db, row, seconds) => releaseLease(db, 'auth.deliveries', row, seconds),
    run: (row, signal) => deliver(needs, shared, health, row, signal),
    poison: (_db, row) => buryPoison(needs, row),
  }
}

/** Statements that rows of this process share: what is claimed together is read together, what ends together settled so. */
interface Shared {
  readonly open: OpenForAttempt
  readonly load: Together<DeliveryRow, Sending | undefined>
  readonly settle: Together<Delivered, boolean>
}
const SHARED = { most: 200, atOnce: 2 }

async function deliver(
  needs: DeliveryWorkNeeds,
  shared: Shared,
  health: Health,
  row: DeliveryRow,
  signal: AbortSignal,
): Promise<void> {
  const sending = await shared.load.add(row)
  if (sending === undefined || sending.destination.deleted) {
    await settleUnsent(needs.db, row, 'cancelled', 'destination_deleted')
    return
  }
  if (sending.data === null) {
    if (await settleUnsent(needs.db, row, 'expired', 'event_gone'))
      needs.metrics.deliveries(row.destination_id, 'expired')
    return
  }
  const result = await attemptDelivery(needs, shared.open, row, sending.destination, sending.data, signal)
  // Cut off by us: the row comes again by its lease. An answer that did arrive is settled; fencing judges a lost lease.
  if (result.attempt.error === 'aborted') return
  needs.metrics.attemptSeconds(result.attempt.durationMs / 1000)
  await settle(needs, shared, health, row, sending, result, signal)
}

async function settle(
  needs: DeliveryWorkNeeds,
  shared: Shared,
  health: Health,
  row: DeliveryRow,
  sending: Sending,
  { delivered, attempt, retryAfter, retries, stepsMs }: AttemptResult,
  signal: AbortSignal,
): Promise<void> {
  const fields = {
    delivery: row.id,
    event: row.event_id,
    destination: row.destination_id,
    attempt: row.attempts + 1,
    status: attempt.status,
    error: attempt.error,
    duration_ms: Math.round(attempt.durationMs),
  }
  if (delivered) {
    if (!(await settleAgain(() => shared.settle.add({ row, attempt }), signal))) return
    needs.metrics.deliveries(row.destination_id, 'delivered')
    needs.log.info(fields, 'delivered')
    await health.delivered(sending.destination)
    return
  }
  const asked = retryAfterMs(retryAfter, needs.clock.now())
  const tries = row.attempts + 1 - row.plan_start
  const next = retries ? nextTry(tries, asked, needs.random, stepsMs) : { kind: 'rejected' as const }
  if (next.kind === 'again') {
    const { delayMs } = next
    if (!(await settleAgain(() => settleDueAgain(needs.db, row, attempt, delayMs), signal))) return
    needs.metrics.deliveries(row.destination_id, 'failed')
    needs.log.warn({ ...fields, again_in_ms: delayMs }, 'an attempt failed')
  } else {
    const { kind } = next
    if (!(await settleAgain(() => bury(needs, row, sending, attempt, kind), signal))) return
  }
  if (attempt.status === 410) await health.gone(sending.destination)
  else await health.failed(sending.destination, attempt.status, asked)
}
