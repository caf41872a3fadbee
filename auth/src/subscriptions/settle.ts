/**
 * What follows a create call: active with its event, later again, or given up with a reason. Each is one transaction,
 * fenced by the lease; a result whose lease was lost is dropped. Never calls a provider.
 */
import type { Failure, JsonObject, ProviderSubscriptions, SubscriptionOutcome } from '@flovify/providers'
import type { Database } from '../db/sql.ts'
import type { Ledger, NewEvent } from '../ledger/ledger.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { DueRow, Nudge } from '../work/work.ts'
import type { CallPlaces } from './call-places.ts'
import { takeCertificate } from './certificate-store.ts'
import { armCheck } from './check-store.ts'
import { CHECKS, STOPS } from './kinds.ts'
import type { SubscriptionLookup } from './lookup.ts'
import { askedWithinMs, renewInSeconds } from './renewal-schedule.ts'
import { closeGaps, settleRenewal } from './renewal-store.ts'
import { judgeRetry } from './retry.ts'
import { insertStop } from './stop-store.ts'
import { activate, noteFailure, type SubscriptionToCreate, settle, settleUntil } from './store.ts'

export interface SettleNeeds {
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly lookup: Pick<SubscriptionLookup, 'forget'>
  /** 0 ≤ random < 1, for the jitter */
  readonly random: () => number
  readonly nudge: Nudge
  readonly metrics: Metrics
  readonly log: Log
  readonly calls: CallPlaces
}

/** What an event says of the subscription it is about. */
export type EventSubject = Pick<
  SubscriptionToCreate,
  'id' | 'connection_id' | 'owner_id' | 'provider' | 'kind' | 'resource' | 'account_label'
>

/** An event about a subscription, as rules can send it on. @param more members of its own */
export function eventOf(type: string, subscription: EventSubject, more: JsonObject): NewEvent {
  return {
    type,
    area: 'lifecycle',
    connectionId: subscription.connection_id,
    ownerId: subscription.owner_id,
    provider: subscription.provider,
    subject: `subscriptions/${subscription.id}`,
    data: {
      connection: {
        id: subscription.connection_id,
        provider: subscription.provider,
        account: subscription.account_label,
      },
      subscription: { id: subscription.id, kind: subscription.kind, resource: subscription.resource },
      ...more,
    },
  }
}

export async function succeed(
  needs: SettleNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  created: Extract<SubscriptionOutcome, { kind: 'created' }>,
  side: ProviderSubscriptions,
  tokenExpiresAt: Date,
  certificateId: string | null,
): Promise<void> {
  const lifeSeconds = (created.expiresAt.getTime() - subscription.now.getTime()) / 1_000
  const withinMs = askedWithinMs(side, subscription.resource, tokenExpiresAt, subscription.now)
  const inSeconds = renewInSeconds(lifeSeconds, withinMs, needs.random())
  const settled = await needs.db.transaction(async (tx) => {
    if (!(await settleRenewal(tx, due, inSeconds, 'done'))) return false
    await activate(tx, {
      id: subscription.id,
      providerSubscriptionId: created.providerSubscriptionId,
      expiresAt: created.expiresAt,
      cursor: created.cursor ?? null,
    })
    if (certificateId !== subscription.certificate_id)
      await takeCertificate(tx, subscription.id, certificateId)
    await closeGaps(tx, subscription.id)
    await armCheck(tx, subscription.id)
    await needs.ledger.record(tx, [
      eventOf('subscription.v1.created', subscription, { expiresAt: created.expiresAt.toISOString() }),
    ])
    return true
  })
  if (!settled) {
    // somebody else has the row: what was made here belongs to nobody, unless the whole account has only one
    if (side.sharedByAccount(subscription.resource)) return
    await insertStop(needs.db, {
      connectionId: subscription.connection_id,
      provider: subscription.provider,
      resource: subscription.resource,
      providerSubscriptionId: created.providerSubscriptionId,
      expiresAt: created.expiresAt,
    })
    needs.nudge.nudge(STOPS)
    return
  }
  needs.nudge.nudge(CHECKS)
  needs.lookup.forget(subscription.connection_id)
  needs.metrics.subscriptions(subscription.provider, 'created')
  needs.log.info(
    {
      provider: subscription.provider,
      subscription: subscription.id,
      kind: subscription.kind,
      content: certificateId !== null,
    },
    'subscription created',
  )
}

export async function tryLater(
  needs: SettleNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  failure: Failure,
): Promise<void> {
  const retry = judgeRetry(failure, Math.max(1, subscription.attempts), needs.random())
  const inSeconds = retry.kind === 'again' ? retry.inSeconds : 0
  await needs.db.transaction(async (tx) => {
    if (!(await settleUntil(tx, due, inSeconds))) return
    await noteFailure(tx, { id: subscription.id, state: 'wanted', code: failure.code })
  })
  report(needs, subscription, failure, 'creating a subscription failed; trying again later')
}

export async function giveUp(
  needs: SettleNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  failure: Failure,
): Promise<void> {
  await needs.db.transaction(async (tx) => {
    if (!(await settle(tx, due))) return
    await noteFailure(tx, { id: subscription.id, state: 'failed', code: failure.code })
  })
  report(needs, subscription, failure, 'creating a subscription failed for good; reconnect the account')
}

function report(
  needs: SettleNeeds,
  subscription: SubscriptionToCreate,
  failure: Failure,
  message: string,
): void {
  needs.metrics.subscriptions(subscription.provider, 'failed')
  needs.log.warn(
    {
      provider: subscription.provider,
      subscription: subscription.id,
      class: failure.class,
      code: failure.code,
      attempts: subscription.attempts,
    },
    message,
  )
}
