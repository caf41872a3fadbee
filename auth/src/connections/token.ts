/**
 * Reads a connection's access token. It opens what is stored while that is valid for the asked time, by the database's
 * clock. Near expiry the answer is `expired`: refreshing has its place here (one lease per connection, design.md §5.4)
 * and is not built yet. Never returns a refresh token.
 */
import type { Secret } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { type Vault, VaultIntegrityError } from '../vault/vault.ts'
import { findSealedToken, markVaultError } from './store.ts'

export interface TokenNeeds {
  readonly db: Db
  readonly vault: Vault
  readonly log: Log
}

export type TokenOutcome =
  | { readonly kind: 'token'; readonly accessToken: Secret; readonly expiresAt: Date }
  /** Not valid long enough. */
  | { readonly kind: 'expired' }
  /** The connection's status says why: `revoked`, `reauth_required`, `vault_error` … */
  | { readonly kind: 'unusable'; readonly status: string }
  | { readonly kind: 'unknown' }

/** @param minValidSeconds how long the token must still be valid */
export async function accessToken(
  needs: TokenNeeds,
  connectionId: string,
  minValidSeconds: number,
): Promise<TokenOutcome> {
  const row = await findSealedToken(needs.db, connectionId, minValidSeconds)
  if (row === undefined) return { kind: 'unknown' }
  if (row.status !== 'active' && row.status !== 'partial') return { kind: 'unusable', status: row.status }
  if (row.data_key === null || row.access_token === null || row.expires_at === null)
    return { kind: 'unusable', status: row.status }
  if (!row.fresh) return { kind: 'expired' }
  try {
    const key = needs.vault.open(row.data_key, {
      purpose: 'oauth_tokens',
      owner: row.owner_id,
      row: row.id,
      provider: row.provider,
    })
    return {
      kind: 'token',
      accessToken: key.unseal('access_token', row.access_token),
      expiresAt: row.expires_at,
    }
  } catch (error) {
    if (!(error instanceof VaultIntegrityError)) throw error
    needs.log.error(
      { connection: row.id, ...errorFields(error) },
      'a stored token cannot be opened: the row was changed',
    )
    await markVaultError(needs.db, { id: row.id, dataKey: row.data_key })
    return { kind: 'unusable', status: 'vault_error' }
  }
}
