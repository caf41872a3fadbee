/** Connections as people see them: account, status, scopes, subscriptions. Never a token, a key or a hash. */
import type { Db } from '../db/sql.ts'
import { words } from './complete.ts'
import { type ConnectionRow, findConnection, findConnections, type Reader } from './store.ts'
import type { SubscriptionsOfConnections, SubscriptionView } from './subscriptions.ts'
import { type AtProvider, type AtProviderNeeds, atProvider } from './withdrawal.ts'

export interface ConnectionView {
  readonly id: string
  readonly provider: string
  readonly account_label: string
  readonly status: string
  readonly status_reason: string | null
  readonly scopes_granted: readonly string[]
  readonly scopes_missing: readonly string[]
  readonly user_id: string | null
  readonly created_at: string
  readonly updated_at: string
  readonly subscriptions: readonly SubscriptionView[]
  /** What a disconnect does at the provider. */
  readonly at_disconnect: AtProvider
}

export interface ListNeeds extends AtProviderNeeds {
  readonly db: Db
  readonly subscriptions: Pick<SubscriptionsOfConnections, 'viewsOf'>
}

export async function listConnections(needs: ListNeeds, viewer: Reader): Promise<ConnectionView[]> {
  return viewsOf(needs, await findConnections(needs.db, viewer))
}

export async function viewConnection(
  needs: ListNeeds,
  connectionId: string,
  viewer: Reader,
): Promise<ConnectionView | undefined> {
  const row = await findConnection(needs.db, connectionId, viewer)
  return row === undefined ? undefined : (await viewsOf(needs, [row]))[0]
}

async function viewsOf(needs: ListNeeds, rows: readonly ConnectionRow[]): Promise<ConnectionView[]> {
  const subscriptions = await needs.subscriptions.viewsOf(
    needs.db,
    rows.map(({ id }) => id),
  )
  return rows.map((row) => {
    const granted = words(row.scope)
    return {
      id: row.id,
      provider: row.provider,
      account_label: row.account_label,
      status: row.status,
      status_reason: row.status_reason,
      scopes_granted: granted,
      scopes_missing: words(row.scope_requested).filter((scope) => !granted.includes(scope)),
      user_id: row.user_id,
      created_at: row.created_at.toISOString(),
      updated_at: row.updated_at.toISOString(),
      subscriptions: subscriptions.get(row.id) ?? [],
      at_disconnect: atProvider(needs, row),
    }
  })
}
