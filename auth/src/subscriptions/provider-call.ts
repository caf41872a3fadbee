/** One call of a provider for one subscription: within fifteen seconds, and whatever breaks is a failure that may pass. */
import type { Failure } from '@flovify/providers'
import { withDeadline } from '../platform/deadline.ts'
import { errorFields, type Log } from '../platform/log.ts'

export type Failed = { readonly kind: 'failed'; readonly failure: Failure }

const CALL_MS = 15_000

/** @param signal ends it too (a lost lease, a drain); then it failed as `timeout` */
export async function callProvider<Outcome>(
  needs: { readonly log: Log },
  subscription: { readonly id: string; readonly provider: string },
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome | Failed> {
  try {
    const inTime = await withDeadline(CALL_MS, signal, work)
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
