/**
 * Connections in `auth.oauth_tokens`. Token columns are sealed text; this file never sees a plain token. What users may
 * see is filtered here: their own rows, all for an admin.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface StoredConnection {
  readonly id: string
  readonly data_key: string | null
  readonly refresh_token: string | null
}

export interface ConnectionToWrite {
  readonly id: string
  readonly ownerId: string
  readonly provider: string
  readonly accountKey: string
  readonly accountLabel: string
  readonly accountAddress: string | null
  readonly tenant: string | null
  readonly status: 'active' | 'partial'
  readonly statusReason: string | null
  readonly dataKey: string
  readonly accessToken: string
  readonly refreshToken: string | null
  readonly expiresAt: Date
  readonly scope: string
  readonly scopeRequested: string
}

/** One account of one user is written by one transaction at a time. */
export const lockAccount = (tx: Db, account: { ownerId: string; provider: string; accountKey: string }) =>
  tx.rows(sql`
    select pg_advisory_xact_lock(hashtextextended(
      ${JSON.stringify(['account', account.ownerId, account.provider, account.accountKey])}, 0))`)

export const findAccount = (tx: Db, account: { ownerId: string; provider: string; accountKey: string }) =>
  tx.one<StoredConnection>(sql`
    select id, data_key, refresh_token from auth.oauth_tokens
     where owner_id = ${account.ownerId} and provider = ${account.provider} and account_key = ${account.accountKey}
       for update`)

export const insertConnection = (tx: Db, row: ConnectionToWrite) =>
  tx.rows(sql`
    insert into auth.oauth_tokens
      (id, user_id, owner_id, provider, account_key, account_label, account_address, tenant, status, status_reason,
       data_key, access_token, refresh_token, expires_at, scope, scope_requested)
    values
      (${row.id}, ${row.ownerId}, ${row.ownerId}, ${row.provider}, ${row.accountKey}, ${row.accountLabel},
       ${row.accountAddress}, ${row.tenant}, ${row.status}, ${row.statusReason}, ${row.dataKey}, ${row.accessToken},
       ${row.refreshToken}, ${row.expiresAt}, ${row.scope}, ${row.scopeRequested})`)

export const updateConnection = (tx: Db, row: ConnectionToWrite) =>
  tx.rows(sql`
    update auth.oauth_tokens
       set user_id = ${row.ownerId}, account_label = ${row.accountLabel}, account_address = ${row.accountAddress},
           tenant = ${row.tenant}, status = ${row.status}, status_reason = ${row.statusReason}, data_key = ${row.dataKey},
           access_token = ${row.accessToken}, refresh_token = ${row.refreshToken}, expires_at = ${row.expiresAt},
           scope = ${row.scope}, scope_requested = ${row.scopeRequested}, version = version + 1,
           updated_at = auth.clock()
     where id = ${row.id}`)

export interface SealedToken {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly status: string
  readonly data_key: string | null
  readonly access_token: string | null
  readonly expires_at: Date | null
  /** Valid for at least the asked time, by the database's clock. */
  readonly fresh: boolean
}

export const findSealedToken = (db: Db, connectionId: string, minValidSeconds: number) =>
  db.one<SealedToken>(sql`
    select id, owner_id, provider, status, data_key, access_token, expires_at,
           coalesce(expires_at > auth.clock() + make_interval(secs => ${minValidSeconds}), false) fresh
      from auth.oauth_tokens where id = ${connectionId}`)

/** The row cannot be opened any more: its data key or a token was changed. Only if it still is the row that was read. */
export const markVaultError = (db: Db, row: { id: string; dataKey: string }) =>
  db.rows(sql`
    update auth.oauth_tokens set status = 'vault_error', status_reason = 'vault_error', updated_at = auth.clock()
     where id = ${row.id} and data_key = ${row.dataKey} and status in ('active', 'partial')`)

export interface Viewer {
  readonly userId: string
  readonly role: 'user' | 'admin'
}

const visibleTo = (viewer: Viewer) =>
  sql`(${viewer.role === 'admin'}::boolean or owner_id = ${viewer.userId})`

export interface RevokedConnection {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly account_label: string
  readonly scope: string
}

/** Ends a connection and wipes everything that could open its tokens. @returns undefined when there is none to end */
export const revokeConnection = (tx: Db, connectionId: string, viewer: Viewer) =>
  tx.one<RevokedConnection>(sql`
    update auth.oauth_tokens
       set status = 'revoked', status_reason = 'disconnected', data_key = null, access_token = null,
           refresh_token = null, expires_at = null, version = version + 1, updated_at = auth.clock()
     where id = ${connectionId} and ${visibleTo(viewer)} and status <> 'revoked'
    returning id, owner_id, provider, account_label, scope`)

export interface ConnectionRow {
  readonly id: string
  readonly user_id: string | null
  readonly provider: string
  readonly account_label: string
  readonly status: string
  readonly status_reason: string | null
  readonly scope: string
  readonly scope_requested: string
  readonly created_at: Date
  readonly updated_at: Date
}

const viewed = sql`id, user_id::text user_id, provider, account_label, status, status_reason, scope, scope_requested, created_at, updated_at`

/** Newest first. A user has a handful, an admin at most sees the newest thousand. */
export const findConnections = (db: Db, viewer: Viewer) =>
  db.rows<ConnectionRow>(sql`
    select ${viewed} from auth.oauth_tokens where ${visibleTo(viewer)} order by created_at desc, id limit 1000`)

export const findConnection = (db: Db, connectionId: string, viewer: Viewer) =>
  db.one<ConnectionRow>(sql`
    select ${viewed} from auth.oauth_tokens where id = ${connectionId} and ${visibleTo(viewer)}`)
