/**
 * Renews a live subscription: one due row, one call outside any transaction, settled under the lease. What the provider
 * does not know any more, and what expired because nobody could renew it, is wanted anew, with the gap written down.
 * What needs a person waits: connecting again makes the next try succeed.
 */
import type { Failure, Provider, RenewalOutcome, Secret, SubscriptionOutcome } from '@flovify/providers'
import type { Transaction } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'
import { takeCertificate } from './certificate-store.ts'
import { chooseCertificate, wantsContent } from './certificates.ts'
import { callProvider } from './provider-call.ts'
import { askedWithinMs, isExpiring, renewAgainInSeconds, renewInSeconds } from './renewal-schedule.ts'
import {
  type GapReason,
  loseSubscription,
  noteRenewalFailure,
  noteRenewed,
  settleRenewal,
} from './renewal-store.ts'
import { createSuccessor, type ReplaceNeeds, settleSuccessor } from './replace.ts'
import { eventOf } from './settle.ts'
import { isFinal } from './stop.ts'
import type { SubscriptionToCreate } from './store.ts'

export interface UsableToken {
  readonly kind: 'token'
  readonly accessToken: Secret
  readonly expiresAt: Date
}

export type RenewNeeds = ReplaceNeeds

/** @param token what the connection's token read said */
export async function renew(
  needs: RenewNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  token: UsableToken | { readonly kind: 'none'; readonly failure: Failure },
  signal: AbortSignal,
): Promise<void> {
  if (subscription.left_seconds <= 0) return lose(needs, due, subscription, 'expired')
  if (token.kind === 'none') return later(needs, due, subscription, token.failure)
  const { provider_subscription_id: providerSubscriptionId } = subscription
  if (providerSubscriptionId === null) return lose(needs, due, subscription, 'removed')
  const { accessToken } = token
  const side = provider.subscriptions
  if (side.isReplaced?.(subscription.resource))
    return replace(needs, due, subscription, provider, accessToken, signal)
  // Its secret is made by a key that is going out of use, it is silent although it lives, or its pushes should carry their
  // content and do not, or the other way round: prolonging changes nothing. Two at once would send everything twice.
  const isUseless =
    subscription.channel_key_id !== needs.channelKeys.keyId ||
    subscription.silent_since !== null ||
    wantsContent(side, subscription) !== (subscription.certificate_id !== null)
  if (isUseless && !side.sharedByAccount(subscription.resource)) {
    const { resource } = subscription
    const stopped = await callProvider(needs, subscription, signal, (abort) =>
      side.stop({ resource, providerSubscriptionId, accessToken, signal: abort }),
    )
    if (signal.aborted && stopped.kind === 'failed') return
    if (stopped.kind === 'failed' && !isFinal(stopped.failure))
      return later(needs, due, subscription, stopped.failure)
    return lose(needs, due, subscription, 'replaced')
  }
  const chosen = await chooseCertificate(needs, due, subscription, side)
  if (chosen.kind === 'lease_lost') return
  const encryption = chosen.kind === 'encrypt' ? chosen.encryption : undefined
  const outcome = await callProvider<RenewalOutcome>(needs, subscription, signal, (abort) =>
    side.renew({
      resource: subscription.resource,
      providerSubscriptionId,
      accessToken,
      grantedLifeMs: subscription.life_seconds === null ? undefined : subscription.life_seconds * 1_000,
      ...(encryption === undefined ? {} : { encryption }),
      signal: abort,
    }),
  )
  // the lease is lost or the process ends: whoever has the row next decides
  if (signal.aborted && outcome.kind === 'failed') return
  if (outcome.kind === 'gone') return lose(needs, due, subscription, 'removed')
  if (outcome.kind === 'failed') return later(needs, due, subscription, outcome.failure)
  const ends = { expiresAt: outcome.expiresAt, tokenExpiresAt: token.expiresAt }
  await renewed(needs, due, subscription, provider, ends, encryption?.certificateId ?? null)
}

async function replace(
  needs: RenewNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  accessToken: Secret,
  signal: AbortSignal,
): Promise<void> {
  const outcome = await callProvider<SubscriptionOutcome | undefined>(needs, subscription, signal, (abort) =>
    createSuccessor(needs, due, subscription, provider, accessToken, abort),
  )
  if (outcome === undefined || (signal.aborted && outcome.kind === 'failed')) return
  if (outcome.kind === 'failed') return later(needs, due, subscription, outcome.failure)
  await settleSuccessor(needs, due, subscription, provider, outcome)
}

async function renewed(
  needs: RenewNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  { expiresAt, tokenExpiresAt }: { readonly expiresAt: Date; readonly tokenExpiresAt: Date },
  certificateId: string | null,
): Promise<void> {
  const lifeSeconds = (expiresAt.getTime() - subscription.now.getTime()) / 1_000
  const { now, resource } = subscription
  const withinMs = askedWithinMs(provider.subscriptions, resource, tokenExpiresAt, now)
  const inSeconds = renewInSeconds(lifeSeconds, withinMs, needs.random())
  const settled = await settle(needs, due, inSeconds, 'done', async (tx) => {
    await noteRenewed(tx, subscription.id, expiresAt)
    if (certificateId !== subscription.certificate_id)
      await takeCertificate(tx, subscription.id, certificateId)
    await needs.ledger.record(tx, [
      eventOf('subscription.v1.renewed', subscription, { expiresAt: expiresAt.toISOString() }),
    ])
  })
  if (!settled) return
  needs.metrics.subscriptions(subscription.provider, 'renewed')
  needs.log.info(
    { provider: subscription.provider, subscription: subscription.id, kind: subscription.kind },
    'subscription renewed',
  )
}

async function later(
  needs: RenewNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  failure: Failure,
): Promise<void> {
  const left = subscription.left_seconds
  const inSeconds = renewAgainInSeconds(failure, subscription.attempts + 1, left, needs.random())
  const expiring = isExpiring(left, subscription.life_seconds) && !subscription.expiring_told
  const data = { class: failure.class, code: failure.code, expiresInSeconds: Math.round(left) }
  await settle(needs, due, inSeconds, 'again', async (tx) => {
    await noteRenewalFailure(tx, subscription.id, failure.code, expiring)
    const events = [
      // once for each cause
      ...(failure.code === subscription.renewal_failure_code
        ? []
        : [eventOf('subscription.v1.renewal_failed', subscription, data)]),
      ...(expiring ? [eventOf('subscription.v1.expiring', subscription, data)] : []),
    ]
    if (events.length > 0) await needs.ledger.record(tx, events)
  })
  needs.metrics.subscriptions(subscription.provider, 'failed')
  needs.log.warn(
    {
      provider: subscription.provider,
      subscription: subscription.id,
      ...data,
      again_in_s: Math.round(inSeconds),
    },
    'a subscription could not be renewed; trying again later',
  )
}

/** Wanted anew, and due at once. */
async function lose(
  needs: RenewNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  reason: GapReason,
): Promise<void> {
  const settled = await settle(needs, due, 0, 'done', async (tx) => {
    if (!(await loseSubscription(tx, subscription.id, reason)) || reason === 'replaced') return
    await needs.ledger.record(tx, [eventOf(`subscription.v1.${reason}`, subscription, {})])
  })
  if (!settled) return
  needs.lookup.forget(subscription.connection_id)
  // one that we ended ourselves did not lapse
  if (reason !== 'replaced') needs.metrics.subscriptions(subscription.provider, 'lapsed')
  needs.log.warn(
    { provider: subscription.provider, subscription: subscription.id, kind: subscription.kind, reason },
    'a subscription is not there any more; a new one is created',
  )
}

function settle(
  needs: RenewNeeds,
  due: DueRow,
  inSeconds: number,
  outcome: 'again' | 'done',
  write: (tx: Transaction) => Promise<void>,
): Promise<boolean> {
  return needs.db.transaction(async (tx) => {
    if (!(await settleRenewal(tx, due, inSeconds, outcome))) return false
    await write(tx)
    return true
  })
}
