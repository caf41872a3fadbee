/**
 * Makes the successor of a live subscription and then has the old one stopped: the new one first, so that nothing is
 * missed between them; what both push meanwhile comes twice. The successor's secret is stored before the call. What was
 * created and could not be written down is found by its first message and stopped.
 */
import type { Provider, Secret, SubscriptionOutcome } from '@flovify/providers'
import { sha256 } from '../platform/ids.ts'
import type { ChannelKeys } from '../vault/channel-keys.ts'
import type { Vault } from '../vault/vault.ts'
import type { DueRow, Nudge } from '../work/work.ts'
import { notificationUrl } from './address.ts'
import { STOPS } from './kinds.ts'
import { renewInSeconds } from './renewal-schedule.ts'
import { closeGaps, settleRenewal } from './renewal-store.ts'
import { storeNextSecret, takePlace } from './replace-store.ts'
import { eventOf, type SettleNeeds } from './settle.ts'
import { insertStop } from './stop-store.ts'
import type { SubscriptionToCreate } from './store.ts'

export interface ReplaceNeeds extends SettleNeeds {
  readonly channelKeys: ChannelKeys
  readonly vault: Vault
  /** Public origin of the notifications, without a slash at the end. */
  readonly webhookOrigin: string
  readonly nudge: Nudge
}

/** @returns undefined when the lease was lost before the call */
export async function createSuccessor(
  needs: ReplaceNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  accessToken: Secret,
  signal: AbortSignal,
): Promise<SubscriptionOutcome | undefined> {
  // all three at once: another key may become primary at any await
  const channelSecret = needs.channelKeys.mintChannelSecret()
  const url = notificationUrl(needs, subscription)
  const { keyId } = needs.channelKeys
  if (!(await storeNextSecret(needs.db, due, sha256(channelSecret.reveal()), keyId))) return undefined
  return provider.subscriptions.create({
    resource: subscription.resource,
    accessToken,
    notificationUrl: url,
    channelSecret,
    signal,
  })
}

/** One transaction: the successor is the subscription now, and its predecessor is to be stopped. */
export async function settleSuccessor(
  needs: ReplaceNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  created: Extract<SubscriptionOutcome, { kind: 'created' }>,
): Promise<void> {
  const { expiresAt, providerSubscriptionId } = created
  const lifeSeconds = (expiresAt.getTime() - subscription.now.getTime()) / 1_000
  const withinMs = provider.subscriptions.renewWithinMs?.(subscription.resource)
  const inSeconds = renewInSeconds(lifeSeconds, withinMs, needs.random())
  const common = {
    connectionId: subscription.connection_id,
    provider: subscription.provider,
    resource: subscription.resource,
  }
  const settled = await needs.db.transaction(async (tx) => {
    if (!(await settleRenewal(tx, due, inSeconds, 'done'))) return false
    await takePlace(tx, {
      id: subscription.id,
      providerSubscriptionId,
      expiresAt,
      cursor: created.cursor ?? null,
    })
    if (subscription.provider_subscription_id !== null && subscription.expires_at !== null)
      await insertStop(tx, {
        ...common,
        providerSubscriptionId: subscription.provider_subscription_id,
        expiresAt: subscription.expires_at,
      })
    await closeGaps(tx, subscription.id)
    await needs.ledger.record(tx, [
      eventOf('subscription.v1.renewed', subscription, { expiresAt: expiresAt.toISOString() }),
    ])
    return true
  })
  // somebody else has the row: what was made here belongs to nobody
  if (!settled) await insertStop(needs.db, { ...common, providerSubscriptionId, expiresAt })
  needs.nudge.nudge(STOPS)
  needs.lookup.forget(subscription.connection_id)
  if (settled) needs.metrics.subscriptions(subscription.provider, 'renewed')
}
