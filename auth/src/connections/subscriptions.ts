/** What connections need of the subscriptions room. `compose.ts` wires it; nothing is implemented here. */
import type { Db, Transaction } from '../db/sql.ts'

export interface SubscribedConnection {
  readonly id: string
  readonly provider: string
  readonly grantedScopes: readonly string[]
  /** After a new grant: the provider may have ended the subscriptions of the old one. */
  readonly fresh: boolean
}

/** One subscription of a connection, as the console sees it. */
export interface SubscriptionView {
  readonly id: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly expires_at: string | null
  readonly created_at: string
  readonly last_notification_at: string | null
  readonly failure_code: string | null
  readonly last_renewed_at: string | null
  readonly renews_at: string | null
  readonly renewal_failure_code: string | null
  readonly last_checked_at: string | null
  readonly next_check_at: string | null
  /** Checks that found changes that were not pushed. */
  readonly missed: number
  /** Not switched off. */
  readonly enabled: boolean
  readonly missed_at: string | null
  /** Of its own; null: as the setting says. */
  readonly check_minutes: number | null
  readonly gaps: readonly { readonly reason: string; readonly from: string; readonly to: string | null }[]
}

export interface SubscriptionsOfConnections {
  /** Writes down what is wanted, in the transaction that writes the connection. */
  subscribe(tx: Transaction, connection: SubscribedConnection): Promise<void>
  /** Ends them on our side, in the transaction that ends the connection. */
  stop(tx: Transaction, connectionId: string): Promise<void>
  /** Whether any that was stopped may still live at the provider. */
  hasToStop(tx: Db, connectionId: string): Promise<boolean>
  /** Called after such a transaction committed. */
  changed(connectionId: string): void
  viewsOf(db: Db, connectionIds: readonly string[]): Promise<ReadonlyMap<string, readonly SubscriptionView[]>>
}
