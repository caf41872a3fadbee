/**
 * Ends the subscriptions of a connection at its provider, with a token that somebody else has. What the account shares
 * among its connections is left while another one lives. What the provider does not know any more has ended.
 */
import type { Failure, Provider, Secret } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { withDeadline } from '../platform/deadline.ts'
import { findToStop, markEnded } from './stop-store.ts'

export interface StopNeeds {
  readonly db: Db
  readonly provider: (id: string) => Provider | undefined
}

export type StopOutcome =
  | { readonly kind: 'ended' }
  /** One could not be ended now. */
  | { readonly kind: 'later'; readonly failure: Failure }

const STOP_MS = 10_000

/** @param connection `shared`: another connection of the same account lives */
export async function stopAtProvider(
  needs: StopNeeds,
  connection: { readonly id: string; readonly provider: string; readonly shared: boolean },
  accessToken: Secret,
  signal: AbortSignal,
): Promise<StopOutcome> {
  const side = needs.provider(connection.provider)?.subscriptions
  for (const row of await findToStop(needs.db, connection.id)) {
    if (side !== undefined && !(side.sharedByAccount(row.resource) && connection.shared)) {
      const { resource, provider_subscription_id: providerSubscriptionId } = row
      const stopped = await withDeadline(STOP_MS, signal, (abort) =>
        side.stop({ resource, providerSubscriptionId, accessToken, signal: abort }),
      )
      if (stopped.kind !== 'answered')
        return { kind: 'later', failure: { class: 'transient', code: 'timeout' } }
      // A token that is refused ends no subscription, now or later: it ends by its own expiry.
      if (stopped.value.kind === 'failed' && !isFinal(stopped.value.failure))
        return { kind: 'later', failure: stopped.value.failure }
    }
    await markEnded(needs.db, row.id)
  }
  return { kind: 'ended' }
}

export const isFinal = (failure: Failure) => failure.class === 'permanent' || failure.class === 'needs_user'
