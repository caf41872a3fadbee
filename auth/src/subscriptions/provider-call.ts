/**
 * One call of a provider for one subscription: within fifteen seconds, few at a time for one connection, and whatever
 * breaks is a failure that may pass.
 */
import type { Failure } from '@flovify/providers'
import { withDeadline } from '../platform/deadline.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { CallPlaces } from './call-places.ts'

export type Failed = { readonly kind: 'failed'; readonly failure: Failure }

export interface CallNeeds {
  readonly log: Log
  readonly calls: CallPlaces
}

const CALL_MS = 15_000

/** @param signal ends it too (a lost lease, a drain); then it failed as `timeout` */
export async function callProvider<Outcome>(
  needs: CallNeeds,
  subscription: { readonly id: string; readonly provider: string; readonly connection_id: string },
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome | Failed> {
  try {
    const inTime = await withDeadline(CALL_MS, signal, (abort) =>
      needs.calls.within(subscription.connection_id, abort, () => work(abort)),
    )
    if (inTime.kind === 'answered') return inTime.value
    return { kind: 'failed', failure: { class: 'transient', code: 'timeout' } }
  } catch (error) {
    needs.log.error(
      { provider: subscription.provider, subscription: subscription.id, ...errorFields(error) },
      'a call about a subscription broke',
    )
    return { kind: 'failed', failure: { class: 'transient', code: 'call_broke' } }
  }
}
