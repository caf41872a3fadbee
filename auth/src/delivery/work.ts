/**
 * The kind of due row called `deliveries`: one row is one event for one destination. It loads the event's stored bytes,
 * signs them with a fresh timestamp, sends them through the egress guard and settles. It changes no byte of the body,
 * and never settles what it cut off itself.
 */
import type { Secret } from '@flovify/providers'
import type { Database } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Clock } from '../platform/clock.ts'
import { monotonicMs } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Vault } from '../vault/vault.ts'
import { extendLease, releaseLease } from '../work/due.ts'
import type { WorkKind } from '../work/work.ts'
import { bury, buryPoison } from './death.ts'
import { destinationContext } from './destinations.ts'
import type { Egress, EgressAnswer } from './egress.ts'
import { type Health, openHealth } from './health.ts'
import { type Next, nextTry, retryAfterMs } from './schedule.ts'
import { type Attempt, settleDelivered, settleDueAgain, settleUnsent } from './settle-store.ts'
import { sign } from './signature.ts'
import { claimDueDeliveries, type DeliveryRow, loadSending, type Sending } from './store.ts'

export interface DeliveryWorkNeeds {
  /** The worker's pool: the claim takes a transaction. */
  readonly db: Database
  readonly vault: Vault
  readonly egress: Egress
  readonly ledger: Pick<Ledger, 'record'>
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
  /** SERVICE_SEMVER, for the user agent. */
  readonly version: string
  /** Uniform in [0, 1). */
  readonly random: () => number
}

export function deliveryWork(needs: DeliveryWorkNeeds): WorkKind<DeliveryRow> {
  const health = openHealth(needs)
  return {
    name: 'deliveries',
    leaseSeconds: 45,
    batch: 100,
    concurrency: 200,
    claim: (_db, lease) => claimDueDeliveries(needs.db, lease),
    extend: (db, row, seconds) => extendLease(db, 'auth.deliveries', row, seconds),
    release: (db, row, seconds) => releaseLease(db, 'auth.deliveries', row, seconds),
    run: (row, signal) => deliver(needs, health, row, signal),
    poison: (_db, row) => buryPoison(needs, row),
  }
}

async function deliver(
  needs: DeliveryWorkNeeds,
  health: Health,
  row: DeliveryRow,
  signal: AbortSignal,
): Promise<void> {
  const sending = await loadSending(needs.db, row)
  if (sending === undefined || sending.deleted) {
    await settleUnsent(needs.db, row, 'cancelled', 'destination_deleted')
    return
  }
  if (sending.data === null) {
    await settleUnsent(needs.db, row, 'expired', 'event_gone')
    return
  }
  const startedAt = needs.clock.now()
  const began = monotonicMs()
  const result = await attempt(needs, row, sending, sending.data, startedAt, signal)
  // Cut off by us: the row comes again by its lease. An answer that did arrive is settled; fencing judges a lost lease.
  if (result.error === 'aborted') return
  const durationMs = monotonicMs() - began
  needs.metrics.attemptSeconds(durationMs / 1000)
  await settle(needs, health, row, sending, result, {
    startedAt,
    durationMs,
    status: result.status,
    error: result.error,
  })
}

interface AttemptResult {
  readonly delivered: boolean
  readonly status: number | null
  readonly error: string | null
  readonly retryAfter: string | undefined
}

async function attempt(
  needs: DeliveryWorkNeeds,
  row: DeliveryRow,
  sending: Sending,
  body: Buffer,
  at: Date,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const secret = openSecret(needs.vault, row.destination_id, sending)
  // A key that is missing today may be configured tomorrow: it costs a try of the schedule, not the delivery.
  if (secret === undefined) return failed('vault_error')
  const answer = await needs.egress.post({
    url: sending.url,
    headers: {
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'user-agent': `FlovifyConnect/${needs.version}`,
      ...sign([secret], row.event_id, at, body),
    },
    body,
    deadlineMs: sending.timeout_ms,
    signal,
  })
  return judge(answer)
}

/** 2xx is delivered, everything else has failed; the words are ours. */
function judge(answer: EgressAnswer): AttemptResult {
  switch (answer.kind) {
    case 'refused':
      return failed('egress_refused')
    case 'failed':
      return failed(answer.error)
    case 'answered': {
      const { status, retryAfter } = answer
      if (status >= 200 && status < 300)
        return { delivered: true, status, error: null, retryAfter: undefined }
      const error = status >= 300 && status < 400 ? 'redirect' : `status_${status}`
      return { delivered: false, status, error, retryAfter }
    }
    default:
      return answer satisfies never
  }
}

const failed = (error: string): AttemptResult => ({
  delivered: false,
  status: null,
  error,
  retryAfter: undefined,
})

function openSecret(vault: Vault, destinationId: string, sending: Sending): Secret | undefined {
  try {
    return vault.open(sending.data_key, destinationContext(destinationId)).unseal('secret', sending.secret)
  } catch {
    return undefined
  }
}

async function settle(
  needs: DeliveryWorkNeeds,
  health: Health,
  row: DeliveryRow,
  sending: Sending,
  result: AttemptResult,
  written: Attempt,
): Promise<void> {
  const fields = {
    delivery: row.id,
    event: row.event_id,
    destination: row.destination_id,
    attempt: row.attempts + 1,
    status: result.status,
    error: result.error,
    duration_ms: Math.round(written.durationMs),
  }
  if (result.delivered) {
    if (!(await settleDelivered(needs.db, row, written))) return
    needs.metrics.deliveries(row.destination_id, 'delivered')
    needs.log.info(fields, 'delivered')
    await health.delivered(row.destination_id, sending.unwell)
    return
  }
  const asked = retryAfterMs(result.retryAfter, needs.clock.now())
  const next = afterFailure(row, sending, result.status, asked, needs.random)
  if (next.kind === 'again') {
    if (!(await settleDueAgain(needs.db, row, written, next.delayMs))) return
    needs.metrics.deliveries(row.destination_id, 'failed')
    needs.log.warn({ ...fields, again_in_ms: next.delayMs }, 'an attempt failed')
  } else if (!(await bury(needs, row, sending, written, next.kind))) return
  if (result.status === 410) await health.gone(row.destination_id)
  else await health.failed(row.destination_id, asked)
}

/** A destination that is gone may come back: what 410 was said to waits there with the others. */
function afterFailure(
  row: DeliveryRow,
  sending: Sending,
  status: number | null,
  retryAfter: number | undefined,
  random: () => number,
): Next | { readonly kind: 'rejected' } {
  const { retry_statuses: statuses, retry_schedule: schedule } = sending
  if (status !== null && status !== 410 && statuses !== null && !statuses.includes(status))
    return { kind: 'rejected' }
  const steps = schedule?.map((seconds) => seconds * 1000)
  return nextTry(row.attempts + 1 - row.plan_start, retryAfter, random, steps)
}
