/**
 * Retries that a person asks for: one dead delivery at once, or all of a destination, counted first and released behind
 * live traffic by `dead-work.ts`. Each is audited in the transaction that does it. It sends nothing, and never retries
 * twice what was asked for twice.
 */
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import type { Nudge } from '../work/work.ts'
import {
  countDead,
  type DeadRetryRow,
  findDeadRetry,
  insertDeadRetry,
  readDeliveryState,
  reviveDelivery,
} from './dead-store.ts'

export interface DeadLettersNeeds {
  readonly db: Database
  readonly nudge: Nudge
}

export type Retry =
  /** `retried` is false when it had been retried before: a double click is one retry. */
  | { readonly kind: 'open'; readonly retried: boolean }
  /** It ended, and nothing is left to try. */
  | { readonly kind: 'finished' }
  | { readonly kind: 'unknown' }

export type BulkRetry =
  | { readonly kind: 'accepted'; readonly retry: DeadRetryRow }
  /** More or fewer than was shown: to be looked at again. */
  | { readonly kind: 'count_changed' }
  /** Another one of this destination is not finished. */
  | { readonly kind: 'running' }
  | { readonly kind: 'unknown' }

export interface BulkRequest {
  readonly destinationId: string
  /** As the dry run counted. */
  readonly expected: number
  /** The caller's own: the same key is the same retry, for the thirty days that a retry is kept. */
  readonly idempotencyKey: string
}

export interface DeadLetters {
  retry(actor: string, deliveryId: string): Promise<Retry>
  /** Dry run. @returns undefined when there is no such destination */
  count(destinationId: string): Promise<number | undefined>
  retryAll(actor: string, request: BulkRequest): Promise<BulkRetry>
}

export function openDeadLetters(needs: DeadLettersNeeds): DeadLetters {
  return {
    retry: (actor, deliveryId) => retryOne(needs, actor, deliveryId),
    count: (destinationId) => countDead(needs.db, destinationId),
    retryAll: (actor, request) => retryAll(needs, actor, request),
  }
}

async function retryOne(needs: DeadLettersNeeds, actor: string, id: string): Promise<Retry> {
  const revived = await needs.db.transaction(async (tx) => {
    const row = await reviveDelivery(tx, id)
    if (row !== undefined)
      await audit(tx, {
        actor,
        action: 'delivery.retried',
        subject: id,
        detail: { destination: row.destination_id },
      })
    return row !== undefined
  })
  if (revived) {
    needs.nudge.nudge('deliveries')
    return { kind: 'open', retried: true }
  }
  const state = await readDeliveryState(needs.db, id)
  if (state === undefined) return { kind: 'unknown' }
  return state === 'open' ? { kind: 'open', retried: false } : { kind: 'finished' }
}

async function retryAll(needs: DeadLettersNeeds, actor: string, request: BulkRequest): Promise<BulkRetry> {
  const { destinationId, expected, idempotencyKey } = request
  const known = await findDeadRetry(needs.db, destinationId, idempotencyKey)
  if (known !== undefined) return { kind: 'accepted', retry: known }
  const accepted = await needs.db.transaction(async (tx): Promise<BulkRetry> => {
    const count = await countDead(tx, destinationId)
    if (count === undefined) return { kind: 'unknown' }
    if (count !== expected) return { kind: 'count_changed' }
    const retry = await insertDeadRetry(tx, {
      id: newId('rtr'),
      destinationId,
      requestedBy: actor,
      idempotencyKey,
      expected,
    })
    if (retry === undefined) return { kind: 'running' }
    await audit(tx, {
      actor,
      action: 'destination.dead_retried',
      subject: destinationId,
      detail: { retry: retry.id, expected },
    })
    return { kind: 'accepted', retry }
  })
  // The other half of a double click, which came between the look and the insertion.
  if (accepted.kind !== 'accepted') {
    const twin = await findDeadRetry(needs.db, destinationId, idempotencyKey)
    if (twin !== undefined) return { kind: 'accepted', retry: twin }
  } else needs.nudge.nudge('dead_retries')
  return accepted
}
