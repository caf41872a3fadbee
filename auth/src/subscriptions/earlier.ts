/**
 * Before a create call is repeated: an earlier one may have been answered to nobody (a kill, a lost answer). What lives at
 * the provider under this subscription's own authentic address is ended first, so that nothing comes twice and no provider
 * refuses the new one as a duplicate; and so is what has an authentic address of a row that nobody has, because the
 * database was restored. Providers that cannot list tell of theirs by the first message.
 */
import type { ProviderSubscriptions, Secret } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { withDeadline } from '../platform/deadline.ts'
import { type AddressNeeds, subscriptionAt } from './address.ts'
import type { ListTurn } from './call-pace.ts'
import { findUnknown } from './stop-store.ts'

export interface EarlierNeeds extends AddressNeeds {
  readonly db: Db
  readonly listTurn: ListTurn
}

/** What has to wait longer is found by the next listing. */
const LIST_TURN_SECONDS = 5
const LIST_MS = 10_000
const STOP_MS = 10_000

/** @returns how many were ended; a failure leaves them to the next listing (check-work.ts) */
export async function endEarlier(
  needs: EarlierNeeds,
  subscription: { readonly id: string; readonly resource: string; readonly provider: string },
  side: ProviderSubscriptions,
  accessToken: Secret,
  signal: AbortSignal,
): Promise<number> {
  const { list } = side
  if (list === undefined) return 0
  if (!(await needs.listTurn(subscription.provider, LIST_TURN_SECONDS, signal))) return 0
  const listed = await withDeadline(LIST_MS, signal, (abort) => list({ accessToken, signal: abort }))
  if (listed.kind !== 'answered' || listed.value.kind === 'failed') return 0
  const ours = listed.value.items.flatMap(({ notificationUrl, providerSubscriptionId }) => {
    const id = subscriptionAt(needs, notificationUrl)
    return id === undefined ? [] : [{ id, providerSubscriptionId }]
  })
  const unknown = await findUnknown(
    needs.db,
    ours.map(({ id }) => id),
  )
  const earlier = ours.filter(({ id }) => id === subscription.id || unknown.has(id))
  for (const { providerSubscriptionId } of earlier)
    await withDeadline(STOP_MS, signal, (abort) =>
      side.stop({ resource: subscription.resource, providerSubscriptionId, accessToken, signal: abort }),
    )
  return earlier.length
}
