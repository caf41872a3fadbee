/**
 * What a connection should be subscribed to, written down in the transaction that writes the connection; a due row makes
 * the worker create it. Also ends them on our side and shows them. Never talks to a provider.
 */
import type { Provider } from '@flovify/providers'
import type { Db, Transaction } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import type { Nudge } from '../work/work.ts'
import type { SubscriptionLookup } from './lookup.ts'
import { hasSubscriptionsToStop } from './stop-store.ts'
import {
  findOfConnections,
  insertSubscription,
  makeDue,
  stopSubscriptions,
  stopUnwanted,
  wantAgain,
} from './store.ts'

export interface SubscriptionsNeeds {
  readonly provider: (id: string) => Provider | undefined
  readonly nudge: Nudge
  readonly lookup: Pick<SubscriptionLookup, 'forget'>
}

export const RENEWALS = 'subscription_renewals'

export interface SubscriptionView {
  readonly id: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly expires_at: string | null
  readonly last_notification_at: string | null
  readonly failure_code: string | null
  readonly last_renewed_at: string | null
  readonly renews_at: string | null
  readonly renewal_failure_code: string | null
  readonly gaps: readonly { readonly reason: string; readonly from: string; readonly to: string | null }[]
}

export interface Subscriptions {
  /** No duplicates: one live subscription for each kind. */
  subscribe(
    tx: Transaction,
    connection: { id: string; provider: string; grantedScopes: readonly string[] },
  ): Promise<void>
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
      const wanted = side?.wanted(connection.grantedScopes) ?? []
      const recreate = side?.endsWithGrant ?? false
      await stopUnwanted(
        tx,
        connection.id,
        wanted.map(({ kind }) => kind),
      )
      for (const { kind, resource } of wanted) {
        const known = await wantAgain(tx, { connectionId: connection.id, kind, resource, recreate })
        if (known?.again === true) await makeDue(tx, known.id)
        if (known !== undefined) continue
        const inserted = await insertSubscription(tx, {
          id: newId('sub'),
          connectionId: connection.id,
          provider: connection.provider,
          kind,
          resource,
        })
        if (inserted !== undefined) await makeDue(tx, inserted.id)
      }
    },
    async stop(tx, connectionId) {
      await stopSubscriptions(tx, connectionId)
    },
    hasToStop: hasSubscriptionsToStop,
    changed(connectionId) {
      needs.lookup.forget(connectionId)
      needs.nudge.nudge(RENEWALS)
    },
    async viewsOf(db, connectionIds) {
      const views = new Map<string, SubscriptionView[]>()
      if (connectionIds.length === 0) return views
      for (const { connection_id, ...row } of await findOfConnections(db, connectionIds)) {
        const view = {
          ...row,
          expires_at: row.expires_at?.toISOString() ?? null,
          last_notification_at: row.last_notification_at?.toISOString() ?? null,
          last_renewed_at: row.last_renewed_at?.toISOString() ?? null,
          renews_at: row.renews_at?.toISOString() ?? null,
        }
        views.set(connection_id, [...(views.get(connection_id) ?? []), view])
      }
      return views
    },
  }
}
