/**
 * The states of a connection and the only ways between them. A change that is not in the table is not made; each one
 * that is made is audited and recorded as an event in the same transaction. Connecting and disconnecting have files of
 * their own (write-connection.ts, disconnect.ts); nothing here touches a token.
 *
 * Leaving work is one event, `connection.v1.reauth_required`, whose `status` tells who has to act: the user
 * (`reauth_required`), an administrator (`admin_required`) or the operator (`vault_error`). Coming back without the
 * user is `connection.v1.reauthorized` with `by: 'refresh'`.
 */
import { audit } from '../audit/audit.ts'
import type { Transaction } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { type LockedConnection, writeStatus } from './store.ts'

export type ConnectionStatus =
  | 'active'
  | 'partial'
  | 'reauth_required'
  | 'admin_required'
  | 'revoking'
  | 'revoked'
  | 'vault_error'

/** `reauth_required` to `active` is a reconnect, or a refresh whose answer came after another one was refused. */
const LEGAL: Readonly<Record<ConnectionStatus, readonly ConnectionStatus[]>> = {
  active: ['partial', 'reauth_required', 'admin_required', 'revoking', 'revoked', 'vault_error'],
  partial: ['active', 'reauth_required', 'admin_required', 'revoking', 'revoked', 'vault_error'],
  reauth_required: ['active', 'partial', 'admin_required', 'revoking', 'revoked', 'vault_error'],
  admin_required: ['active', 'partial', 'reauth_required', 'revoking', 'revoked', 'vault_error'],
  vault_error: ['active', 'partial', 'revoking', 'revoked'],
  // connected again before the provider was told
  revoking: ['revoked', 'active', 'partial'],
  revoked: ['active', 'partial'],
}

export const isLegal = (from: ConnectionStatus, to: ConnectionStatus): boolean => LEGAL[from].includes(to)

export type Ending = 'reauth_required' | 'admin_required' | 'vault_error'

export interface TransitionNeeds {
  readonly ledger: Pick<Ledger, 'record'>
}

/**
 * Ends a connection's work until somebody acts.
 * @param connection as locked in this transaction
 * @param version what the caller read before: if the tokens changed since, the reason is one of the past
 * @param reason a fixed word
 */
export async function endWork(
  needs: TransitionNeeds,
  tx: Transaction,
  connection: LockedConnection,
  change: { readonly to: Ending; readonly reason: string; readonly version: number },
): Promise<'changed' | 'same' | 'stale'> {
  if (connection.version !== change.version) return 'stale'
  if (connection.status === change.to) return 'same'
  if (!isLegal(connection.status, change.to)) return 'stale'
  await writeStatus(tx, { id: connection.id, status: change.to, reason: change.reason })
  await audit(tx, {
    actor: 'system',
    action: `connection.${change.to}`,
    subject: connection.id,
    detail: { provider: connection.provider, from: connection.status, reason: change.reason },
  })
  await needs.ledger.record(tx, [
    {
      ...about(connection),
      type: 'connection.v1.reauth_required',
      data: { connection: named(connection), status: change.to, reason: change.reason },
    },
  ])
  return 'changed'
}

/** Audit and events of a refresh that worked: only where something else than the token changed. */
export async function recordRefreshed(
  needs: TransitionNeeds,
  tx: Transaction,
  before: LockedConnection,
  after: {
    readonly status: 'active' | 'partial'
    readonly granted: readonly string[]
    readonly removed: readonly string[]
  },
): Promise<void> {
  if (before.status !== 'active' && before.status !== 'partial') {
    await audit(tx, {
      actor: 'system',
      action: 'connection.recovered',
      subject: before.id,
      detail: { provider: before.provider, from: before.status, status: after.status },
    })
    await needs.ledger.record(tx, [
      {
        ...about(before),
        type: 'connection.v1.reauthorized',
        data: { connection: named(before), status: after.status, by: 'refresh' },
      },
    ])
  }
  if (after.removed.length === 0) return
  await audit(tx, {
    actor: 'system',
    action: 'connection.scopes_changed',
    subject: before.id,
    detail: { provider: before.provider, status: after.status, removed: after.removed.join(' ') },
  })
  await needs.ledger.record(tx, [
    {
      ...about(before),
      type: 'connection.v1.scopes_changed',
      data: {
        connection: named(before),
        status: after.status,
        added: [],
        removed: after.removed,
        scopes: { granted: after.granted },
      },
    },
  ])
}

const about = (connection: LockedConnection) =>
  ({
    area: 'lifecycle',
    connectionId: connection.id,
    ownerId: connection.owner_id,
    provider: connection.provider,
    subject: `connections/${connection.id}`,
  }) as const

const named = (connection: LockedConnection) => ({
  id: connection.id,
  provider: connection.provider,
  account: connection.account_label,
})
