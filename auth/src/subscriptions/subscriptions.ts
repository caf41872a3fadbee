/**
 * What a connection should be subscribed to, written down in the transaction that writes the connection; a due row makes
 * the worker create it. Also ends them on our side and shows them. Never talks to a provider.
 */
import type { Provider, ProviderSubscriptions, WantedSubscription } from '@flovify/providers'
import type { Db, Transaction } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import type { Nudge } from '../work/work.ts'
import { wantsContent } from './certificates.ts'
import { findOff } from './choice-store.ts'
import { wantDiscoveredAgain, wantFailedDiscoveredAgain } from './discovered-store.ts'
import { RENEWALS, STOPS } from './kinds.ts'
import type { SubscriptionLookup } from './lookup.ts'
import { renewSoon } from './renewal-store.ts'
import { hasSubscriptionsToStop, insertStopsOf, insertStopsOfRenewedGrant } from './stop-store.ts'
import {
  insertSubscription,
  makeDue,
  stopSubscriptions,
  stopUnwanted,
  stopVanished,
  wantAgain,
} from './store.ts'
import { findOfConnections } from './view-store.ts'

export interface SubscriptionsNeeds {
  readonly provider: (id: string) => Provider | undefined
  readonly nudge: Nudge
  readonly lookup: Pick<SubscriptionLookup, 'forget'>
}

export interface SubscriptionView {
  readonly id: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  /** Since when it is watched. */
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_notification_at: string | null
  readonly failure_code: string | null
  readonly last_renewed_at: string | null
  readonly renews_at: string | null
  readonly renewal_failure_code: string | null
  readonly last_checked_at: string | null
  readonly next_check_at: string | null
  readonly missed: number
  /** Not switched off. */
  readonly enabled: boolean
  readonly missed_at: string | null
  readonly check_minutes: number | null
  readonly gaps: readonly { readonly reason: string; readonly from: string; readonly to: string | null }[]
}

export interface Subscriptions {
  /**
   * Makes what is wanted follow from the scopes, the settings and the choices. No duplicates: one live subscription for
   * each kind. `fresh`: after a new grant, what the provider
   * ended with the old one is made anew.
   */
  subscribe(
    tx: Transaction,
    connection: { id: string; provider: string; grantedScopes: readonly string[]; fresh: boolean },
  ): Promise<void>
  /** What was found by asking, beside what it was found by; those that are not found any more end. @returns whether anything is new */
  watchDiscovered(
    tx: Transaction,
    origin: { readonly connectionId: string; readonly provider: string; readonly kind: string },
    wanted: readonly WantedSubscription[],
  ): Promise<boolean>
  /** On our side, at once: what still arrives is not genuine any more. At the provider: `stop.ts`. */
  stop(tx: Transaction, connectionId: string): Promise<void>
  hasToStop(tx: Db, connectionId: string): Promise<boolean>
  /** After the commit of one of these. */
  changed(connectionId: string): void
  viewsOf(db: Db, connectionIds: readonly string[]): Promise<Map<string, SubscriptionView[]>>
}

export function openSubscriptions(needs: SubscriptionsNeeds): Subscriptions {
  return {
    async subscribe(tx, connection) {
      const side = needs.provider(connection.provider)?.subscriptions
      // switched off by its settings: what it watches is left as it is, so that a forgotten variable ends nothing
      if (side === undefined) return
      const off = await findOff(tx, connection.id)
      const wanted = side.wanted(connection.grantedScopes).filter(({ kind }) => !off.includes(kind))
      const kinds = wanted.map(({ kind }) => kind)
      await insertStopsOf(tx, await stopUnwanted(tx, connection.id, kinds, off))
      const { fresh } = connection
      const recreate = fresh && side.endsWithGrant
      // most have ended with the old grant; one that has not would send everything twice
      if (recreate) await insertStopsOfRenewedGrant(tx, connection.id, kinds)
      for (const one of wanted) await want(tx, side, connection, one, { fresh, recreate })
      if (recreate) await wantDiscoveredAgain(tx, connection.id, kinds)
      else await wantFailedDiscoveredAgain(tx, connection.id, kinds)
    },
    async watchDiscovered(tx, { connectionId, provider, kind }, wanted) {
      const side = needs.provider(provider)?.subscriptions ?? {}
      const off = await findOff(tx, connectionId)
      const found = wanted.filter((one) => !off.includes(one.kind))
      const kinds = found.map((one) => one.kind)
      const over = await stopVanished(tx, connectionId, `${kind}:`, kinds)
      await insertStopsOf(tx, over)
      let news = over.length > 0
      for (const one of found)
        if (await want(tx, side, { id: connectionId, provider }, one, RECONCILED)) news = true
      return news
    },
    async stop(tx, connectionId) {
      await stopSubscriptions(tx, connectionId)
    },
    hasToStop: hasSubscriptionsToStop,
    changed(connectionId) {
      needs.lookup.forget(connectionId)
      needs.nudge.nudge(RENEWALS)
      needs.nudge.nudge(STOPS)
    },
    async viewsOf(db, connectionIds) {
      const views = new Map<string, SubscriptionView[]>()
      if (connectionIds.length === 0) return views
      for (const { connection_id, ...row } of await findOfConnections(db, connectionIds)) {
        const view = {
          ...row,
          created_at: row.created_at.toISOString(),
          expires_at: row.expires_at?.toISOString() ?? null,
          last_notification_at: row.last_notification_at?.toISOString() ?? null,
          last_renewed_at: row.last_renewed_at?.toISOString() ?? null,
          renews_at: row.renews_at?.toISOString() ?? null,
          last_checked_at: row.last_checked_at?.toISOString() ?? null,
          next_check_at: row.next_check_at?.toISOString() ?? null,
          missed_at: row.missed_at?.toISOString() ?? null,
        }
        views.set(connection_id, [...(views.get(connection_id) ?? []), view])
      }
      return views
    },
  }
}

/** Two renewals within ten minutes leave an undefined state at one provider (protocols/microsoft.md §2.5). */
const NOT_WITHIN_SECONDS = 600

/** Nothing happened at the provider: what is being made already goes on as it does. */
const RECONCILED = { fresh: false, recreate: false }

/** @returns whether there is something to do */
async function want(
  tx: Transaction,
  side: Pick<ProviderSubscriptions, 'encryption'>,
  connection: { readonly id: string; readonly provider: string },
  { kind, resource }: WantedSubscription,
  how: { readonly fresh: boolean; readonly recreate: boolean },
): Promise<boolean> {
  const known = await wantAgain(tx, { connectionId: connection.id, kind, resource, ...how })
  if (known?.again === true) await makeDue(tx, known.id)
  // a live one that is to have content by now, or not any more: its next renewal makes it anew
  else if (known !== undefined && wantsContent(side, known) !== (known.certificate_id !== null))
    await renewSoon(tx, known.id, 0)
  // what it waited for may have been this grant
  else if (known !== undefined && how.fresh && known.renewal_failure_code !== null)
    await renewSoon(tx, known.id, NOT_WITHIN_SECONDS)
  if (known !== undefined) return known.again
  const inserted = await insertSubscription(tx, {
    id: newId('sub'),
    connectionId: connection.id,
    provider: connection.provider,
    kind,
    resource,
  })
  if (inserted !== undefined) await makeDue(tx, inserted.id)
  return inserted !== undefined
}
