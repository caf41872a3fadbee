/**
 * Writes what an exchange granted, in one transaction: connection, sealed tokens, their next refresh, the end of the flow, audit, event and
 * the subscriptions wanted; all of it or nothing. An earlier refresh token is kept when the answer has none (Google
 * sends it only once). Never writes a plain token.
 */
import type { ExchangeOutcome, Secret } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database, Transaction } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { newId } from '../platform/ids.ts'
import { type KeyContext, type SealingKey, type Vault, VaultIntegrityError } from '../vault/vault.ts'
import { type ClaimedFlow, finishExchange } from './flow-store.ts'
import { scheduleRefresh } from './refresh-store.ts'
import { dropRevocation } from './revocation-store.ts'
import {
  type ConnectionToWrite,
  findAccount,
  insertConnection,
  lockAccount,
  type StoredConnection,
  updateConnection,
} from './store.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'

export type Granted = Extract<ExchangeOutcome, { kind: 'granted' }>

export interface WriteNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly ledger: Pick<Ledger, 'record'>
  readonly subscriptions: SubscriptionsOfConnections
}

/**
 * @returns the id of the connection
 * @throws with code `flow_ended` when the sweep has ended the exchange meanwhile: then nothing is written
 */
export function writeConnection(needs: WriteNeeds, flow: ClaimedFlow, granted: Granted): Promise<string> {
  return needs.db.transaction(async (tx) => {
    const { row, isNew, earlier } = await writeTokens(needs, tx, flow, granted)
    if ((await finishExchange(tx, { id: flow.id, connectionId: row.id })) === undefined)
      throw Object.assign(new Error('the flow ended before its exchange did'), {
        code: 'flow_ended',
        safe: true,
      })
    await audit(tx, {
      actor: `user:${flow.owner_id}`,
      action: isNew ? 'connection.created' : 'connection.reauthorized',
      subject: row.id,
      detail: { provider: flow.provider, status: row.status },
    })
    await needs.ledger.record(tx, [
      {
        type: isNew ? 'connection.v1.created' : 'connection.v1.reauthorized',
        area: 'lifecycle',
        connectionId: row.id,
        ownerId: flow.owner_id,
        provider: flow.provider,
        subject: `connections/${row.id}`,
        data: {
          connection: { id: row.id, provider: flow.provider, account: row.accountLabel },
          status: row.status,
          scopes: { granted: granted.tokens.grantedScopes, missing: granted.missingScopes },
        },
      },
    ])
    const changed = earlier === undefined ? undefined : difference(earlier, granted.tokens.grantedScopes)
    if (changed !== undefined) {
      await audit(tx, {
        actor: `user:${flow.owner_id}`,
        action: 'connection.scopes_changed',
        subject: row.id,
        detail: {
          provider: flow.provider,
          added: changed.added.join(' '),
          removed: changed.removed.join(' '),
        },
      })
      await needs.ledger.record(tx, [
        {
          type: 'connection.v1.scopes_changed',
          area: 'lifecycle',
          connectionId: row.id,
          ownerId: flow.owner_id,
          provider: flow.provider,
          subject: `connections/${row.id}`,
          data: {
            connection: { id: row.id, provider: flow.provider, account: row.accountLabel },
            status: row.status,
            ...changed,
            scopes: { granted: granted.tokens.grantedScopes, missing: granted.missingScopes },
          },
        },
      ])
    }
    await needs.subscriptions.subscribe(tx, {
      id: row.id,
      provider: flow.provider,
      grantedScopes: granted.tokens.grantedScopes,
      fresh: true,
    })
    return row.id
  })
}

async function writeTokens(
  needs: WriteNeeds,
  tx: Transaction,
  flow: ClaimedFlow,
  { tokens, account, missingScopes }: Granted,
): Promise<{ row: ConnectionToWrite; isNew: boolean; earlier: string | undefined }> {
  const identity = { ownerId: flow.owner_id, provider: flow.provider, accountKey: account.key }
  await lockAccount(tx, identity)
  const stored = await findAccount(tx, identity)
  const id = stored?.id ?? newId('con')
  const kept = keyFor(
    needs.vault,
    { purpose: 'oauth_tokens', owner: flow.owner_id, row: id, provider: flow.provider },
    stored,
  )
  const refreshToken = tokens.refreshToken ?? kept.earlierRefreshToken
  const row: ConnectionToWrite = {
    id,
    ...identity,
    accountLabel: account.label,
    accountAddress: account.address ?? null,
    tenant: account.tenant ?? null,
    status: missingScopes.length === 0 ? 'active' : 'partial',
    statusReason: missingScopes.length === 0 ? null : 'scopes_missing',
    dataKey: kept.dataKey,
    accessToken: kept.key.seal('access_token', tokens.accessToken),
    refreshToken: refreshToken === undefined ? null : kept.key.seal('refresh_token', refreshToken),
    expiresAt: tokens.expiresAt,
    scope: tokens.grantedScopes.join(' '),
    // as the provider splits it: what is not granted of it is missing
    scopeRequested: [...new Set([...tokens.grantedScopes, ...missingScopes])].join(' '),
  }
  if (stored === undefined) await insertConnection(tx, row)
  else {
    await updateConnection(tx, row)
    // it was ending: the grant is the new one's now
    await dropRevocation(tx, id)
  }
  await scheduleRefresh(tx, { ...row, hasRefreshToken: row.refreshToken !== null })
  // of an ended connection nothing was granted any more, so nothing has changed
  const ended = stored?.status === 'revoked' || stored?.status === 'revoking'
  return { row, isNew: stored === undefined, earlier: ended ? undefined : stored?.scope }
}

/** @returns undefined when the same scopes are granted as before */
function difference(
  earlier: string,
  now: readonly string[],
): { readonly added: readonly string[]; readonly removed: readonly string[] } | undefined {
  const before = earlier.split(' ').filter((scope) => scope !== '')
  const added = now.filter((scope) => !before.includes(scope))
  const removed = before.filter((scope) => !now.includes(scope))
  return added.length + removed.length === 0 ? undefined : { added, removed }
}

/** The row's own key, or a new one for a new, wiped or damaged row; then there is no earlier refresh token to keep. */
function keyFor(
  vault: Vault,
  context: KeyContext,
  stored: StoredConnection | undefined,
): { dataKey: string; key: SealingKey; earlierRefreshToken: Secret | undefined } {
  if (stored?.data_key != null) {
    try {
      const key = vault.open(stored.data_key, context)
      const earlierRefreshToken =
        stored.refresh_token === null ? undefined : key.unseal('refresh_token', stored.refresh_token)
      return { dataKey: stored.data_key, key, earlierRefreshToken }
    } catch (error) {
      if (!(error instanceof VaultIntegrityError)) throw error
    }
  }
  const dataKey = vault.newDataKey(context)
  return { dataKey, key: vault.open(dataKey, context), earlierRefreshToken: undefined }
}
