/**
 * Creates the subscriptions that connections want: one due row, one call. The channel secret's hash is stored before the
 * call, because the provider's handshake and even a first notification may arrive before its answer. The call runs
 * outside any transaction; settling is fenced by the lease. Renewal is the same row at a later due time (`renew.ts`).
 *
 * After a crash between call and settling, the provider may hold a subscription that we have no answer of: where the
 * provider can list, it is ended before the call is repeated. A repeated attempt always has a NEW secret: its hash
 * replaces the earlier one, and what the lost one still sends fails its check, so no event comes twice.
 */
import type { Provider } from '@flovify/providers'
import { sha256 } from '../platform/ids.ts'
import type { ChannelKeys } from '../vault/channel-keys.ts'
import type { Vault } from '../vault/vault.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, Nudge, WorkKind } from '../work/work.ts'
import { notificationUrl } from './address.ts'
import type { ListTurn } from './call-pace.ts'
import { chooseCertificate } from './certificates.ts'
import { endEarlier } from './earlier.ts'
import { RENEWALS } from './kinds.ts'
import { callProvider } from './provider-call.ts'
import { renew, type UsableToken } from './renew.ts'
import { tokenSeconds } from './renewal-schedule.ts'
import { claimDueRenewals, settleRenewal } from './renewal-store.ts'
import { judgeRetry } from './retry.ts'
import { giveUp, type SettleNeeds, succeed, tryLater } from './settle.ts'
import { findToCreate, type SubscriptionToCreate, settle, storeSecretHash } from './store.ts'

/** What this room needs of the connections room. */
export type AccessToken = (
  connectionId: string,
  minValidSeconds: number,
) => Promise<
  | UsableToken
  | { readonly kind: 'expired' }
  | { readonly kind: 'unusable'; readonly status: string }
  | { readonly kind: 'unknown' }
>

export interface RenewalNeeds extends SettleNeeds {
  readonly provider: (id: string) => Provider | undefined
  readonly accessToken: AccessToken
  readonly channelKeys: ChannelKeys
  readonly vault: Vault
  /** Public origin of the notifications, without a slash at the end. */
  readonly webhookOrigin: string
  readonly nudge: Nudge
  readonly listTurn: ListTurn
}

const POISON_SECONDS = 3_600

export function subscriptionRenewals(needs: RenewalNeeds): WorkKind<DueRow> {
  return {
    name: RENEWALS,
    leaseSeconds: 30,
    batch: 8,
    concurrency: 8,
    ...dueIn('auth.subscription_renewals'),
    claim: claimDueRenewals,
    run: (row, signal) => attend(needs, row, signal),
    poison: async (_db, row) => {
      const subscription = await findToCreate(needs.db, row)
      // a live one stays: it is tried again before it expires
      if (subscription?.state === 'active') await settleRenewal(needs.db, row, POISON_SECONDS, 'again')
      else if (subscription !== undefined)
        await giveUp(needs, row, subscription, { class: 'permanent', code: 'poison' })
    },
  }
}

async function attend(needs: RenewalNeeds, due: DueRow, signal: AbortSignal): Promise<void> {
  const subscription = await findToCreate(needs.db, due)
  if (subscription === undefined) return
  if (subscription.state !== 'wanted' && subscription.state !== 'active') {
    await settle(needs.db, due)
    return
  }
  const provider = needs.provider(subscription.provider)
  if (subscription.state === 'active' && provider !== undefined)
    return attendLive(needs, due, subscription, provider, signal)
  if (provider === undefined)
    return giveUp(needs, due, subscription, { class: 'our_configuration', code: 'provider_off' })
  const token = await needs.accessToken(subscription.connection_id, tokenSeconds(provider.subscriptions))
  if (token.kind === 'expired') {
    // a refreshed or reconnected account makes the next attempt succeed
    return tryLater(needs, due, subscription, { class: 'transient', code: 'token_expired' })
  }
  if (token.kind !== 'token')
    return giveUp(needs, due, subscription, {
      class: 'needs_user',
      code: token.kind === 'unusable' ? `connection_${token.status}` : 'connection_unknown',
    })
  await create(needs, due, subscription, provider, token, signal)
}

/** What cannot be renewed now is told by its failure; what has expired is made anew even without a token. */
async function attendLive(
  needs: RenewalNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  signal: AbortSignal,
): Promise<void> {
  const read = await needs.accessToken(subscription.connection_id, tokenSeconds(provider.subscriptions))
  const none = (failureClass: 'transient' | 'needs_user', code: string) =>
    ({ kind: 'none', failure: { class: failureClass, code } }) as const
  const token =
    read.kind === 'token'
      ? read
      : read.kind === 'expired'
        ? none('transient', 'token_expired')
        : none('needs_user', read.kind === 'unusable' ? `connection_${read.status}` : 'connection_unknown')
  await renew(needs, due, subscription, provider, token, signal)
}

async function create(
  needs: RenewalNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  provider: Provider,
  { accessToken, expiresAt }: UsableToken,
  signal: AbortSignal,
): Promise<void> {
  if (subscription.attempts > 0)
    await callProvider(needs, subscription, signal, (abort) =>
      endEarlier(needs, subscription, provider.subscriptions, accessToken, abort),
    )
  const chosen = await chooseCertificate(needs, due, subscription, provider.subscriptions)
  if (chosen.kind === 'lease_lost') return
  const encryption = chosen.kind === 'encrypt' ? chosen.encryption : undefined
  // all three at once: another key may become primary at any await
  const channelSecret = needs.channelKeys.mintChannelSecret()
  const url = notificationUrl(needs, subscription)
  const { keyId } = needs.channelKeys
  if (!(await storeSecretHash(needs.db, due, sha256(channelSecret.reveal()), keyId))) return
  const outcome = await callProvider(needs, subscription, signal, (abort) =>
    provider.subscriptions.create({
      resource: subscription.resource,
      accessToken,
      notificationUrl: url,
      channelSecret,
      ...(encryption === undefined ? {} : { encryption }),
      signal: abort,
    }),
  )
  // the lease is lost or the process ends: whoever has the row next decides
  if (signal.aborted && outcome.kind === 'failed') return
  if (outcome.kind === 'created')
    return succeed(
      needs,
      due,
      subscription,
      outcome,
      provider.subscriptions,
      expiresAt,
      encryption?.certificateId ?? null,
    )
  const attempted = { ...subscription, attempts: subscription.attempts + 1 }
  if (judgeRetry(outcome.failure, attempted.attempts, 0).kind === 'again')
    return tryLater(needs, due, attempted, outcome.failure)
  return giveUp(needs, due, attempted, outcome.failure)
}
