/**
 * Opens a connection's stored access token while it is valid for the asked time, by the database's clock. A row that
 * cannot be opened ends only that connection. Never refreshes (token-read.ts does), never returns a refresh token.
 */
import type { Secret } from '@flovify/providers'
import { ALL_CONNECTIONS, type ConnectionScope } from '../db/connection-scope.ts'
import type { Database } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { type Vault, VaultIntegrityError } from '../vault/vault.ts'
import { words } from './complete.ts'
import { unscheduleRefresh } from './refresh-store.ts'
import { findSealedToken, type SealedToken, type SealedTokens } from './sealed-token-store.ts'
import { lockConnection } from './store.ts'
import { endWork, type TransitionNeeds } from './transition.ts'

export interface TokenNeeds extends TransitionNeeds {
  readonly db: Database
  readonly vault: Vault
  /** Where reads that come together share a statement. */
  readonly sealed?: SealedTokens
  readonly log: Log
}

export interface ReadableToken {
  readonly kind: 'token'
  readonly accessToken: Secret
  readonly expiresAt: Date
  readonly scopes: readonly string[]
  readonly provider: string
  /** Counts the tokens of the connection. */
  readonly version: number
}

export type TokenOutcome =
  | ReadableToken
  /** Not valid long enough; `stillValid` when it is valid at all. */
  | {
      readonly kind: 'expired'
      readonly provider: string
      readonly version: number
      readonly stillValid: ReadableToken | undefined
    }
  /** The connection's status says why: `revoked`, `reauth_required`, `vault_error` … */
  | { readonly kind: 'unusable'; readonly status: string; readonly reason: string | null }
  | { readonly kind: 'unknown' }

/** @param minValidSeconds how long the token must still be valid @param scope outside it every connection is unknown */
export async function accessToken(
  needs: TokenNeeds,
  connectionId: string,
  minValidSeconds: number,
  scope: ConnectionScope = ALL_CONNECTIONS,
): Promise<TokenOutcome> {
  const row = await (needs.sealed === undefined
    ? findSealedToken(needs.db, connectionId, minValidSeconds, scope)
    : needs.sealed.find(connectionId, minValidSeconds, scope))
  if (row === undefined) return { kind: 'unknown' }
  const unusable = { kind: 'unusable', status: row.status, reason: row.status_reason } as const
  if (row.status !== 'active' && row.status !== 'partial') return unusable
  if (row.data_key === null || row.access_token === null || row.expires_at === null) return unusable
  const { provider, version } = row
  if (!row.valid) return { kind: 'expired', provider, version, stillValid: undefined }
  try {
    const context = { purpose: 'oauth_tokens', owner: row.owner_id, row: row.id, provider } as const
    const token: ReadableToken = {
      kind: 'token',
      accessToken: needs.vault.open(row.data_key, context).unseal('access_token', row.access_token),
      expiresAt: row.expires_at,
      scopes: words(row.scope),
      provider,
      version,
    }
    return row.fresh ? token : { kind: 'expired', provider, version, stillValid: token }
  } catch (error) {
    if (!(error instanceof VaultIntegrityError)) throw error
    needs.log.error(
      { connection: row.id, ...errorFields(error) },
      'a stored token cannot be opened: the row was changed',
    )
    await endDamaged(needs, row)
    return { kind: 'unusable', status: 'vault_error', reason: 'vault_error' }
  }
}

async function endDamaged(needs: TokenNeeds, row: SealedToken): Promise<void> {
  await needs.db.transaction(async (tx) => {
    const now = await lockConnection(tx, row.id)
    if (now === undefined) return
    const change = { to: 'vault_error', reason: 'vault_error', version: row.version } as const
    if ((await endWork(needs, tx, now, change)) === 'changed') await unscheduleRefresh(tx, row.id)
  })
}
