/**
 * Connections in `auth.oauth_tokens`. Token columns are sealed text; this file never sees a plain token. What users may
 * see is filtered here: their own rows, all for an admin.
 */
import { type ConnectionScope, within } from '../db/connection-scope.ts'
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { ConnectionStatus } from './transition.ts'

export interface StoredConnection {
  readonly id: string
  readonly data_key: string | null
  readonly refresh_token: string | null
  readonly scope: string
  readonly status: ConnectionStatus
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
    select id, data_key, refresh_token, scope, status from auth.oauth_tokens
     where owner_id = ${account.ownerId} and provider = ${account.provider} and account_key = ${account.accountKey}
       for update`)

/** Of a living user, whatever state it is in: an ended one is reconnected too. */
export const findToReconnect = (db: Db, wanted: { id: string; ownerId: string; provider: string }) =>
  db.one<{ id: string; account_key: string; account_label: string; scope_requested: string }>(sql`
    select id, account_key, account_label, scope_requested from auth.oauth_tokens
     where id = ${wanted.id} and owner_id = ${wanted.ownerId} and provider = ${wanted.provider}`)

/** Whether anybody's connection lives on this grant. */
export async function isGrantInUse(
  db: Db,
  account: { provider: string; accountKey: string },
): Promise<boolean> {
  const row = await db.one(sql`
    select 1 from auth.oauth_tokens
     where provider = ${account.provider} and account_key = ${account.accountKey}
       and status not in ('revoking', 'revoked') and data_key is not null limit 1`)
  return row !== undefined
}

export const insertConnection = (tx: Db, row: ConnectionToWrite) =>
  tx.rows(sql`
    insert into auth.oauth_tokens
      (id, user_id, owner_id, provider, account_key, account_label, account_address, tenant, status, status_reason,
       data_key, access_token, refresh_token, expires_at, issued_at, scope, scope_requested)
    values
      (${row.id}, ${row.ownerId}, ${row.ownerId}, ${row.provider}, ${row.accountKey}, ${row.accountLabel},
       ${row.accountAddress}, ${row.tenant}, ${row.status}, ${row.statusReason}, ${row.dataKey}, ${row.accessToken},
       ${row.refreshToken}, ${row.expiresAt}, auth.clock(), ${row.scope}, ${row.scopeRequested})`)

export const updateConnection = (tx: Db, row: ConnectionToWrite) =>
  tx.rows(sql`
    update auth.oauth_tokens
       set user_id = ${row.ownerId}, account_label = ${row.accountLabel}, account_address = ${row.accountAddress},
           tenant = ${row.tenant}, status = ${row.status}, status_reason = ${row.statusReason}, data_key = ${row.dataKey},
           access_token = ${row.accessToken}, refresh_token = ${row.refreshToken}, expires_at = ${row.expiresAt},
           issued_at = auth.clock(), scope = ${row.scope}, scope_requested = ${row.scopeRequested}, version = version + 1,
           updated_at = auth.clock()
     where id = ${row.id}`)

const columns = { id: sql`id`, owner: sql`owner_id`, provider: sql`provider` }

/** Connections of a living user at a provider, without those that ended. */
export const findConnectionsOf = (
  db: Db,
  owner: { userId: string; provider: string },
  scope: ConnectionScope,
) =>
  db.rows<{ id: string }>(sql`
    select id from auth.oauth_tokens
     where owner_id = ${owner.userId} and user_id is not null and provider = ${owner.provider}
       and status not in ('revoking', 'revoked') and ${within(scope, columns)}
     order by created_at, id limit 100`)

export interface LockedConnection {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly account_label: string
  readonly status: ConnectionStatus
  readonly scope: string
  readonly scope_requested: string
  readonly version: number
}

/** The row as it is now, kept as it is until the transaction ends. */
export const lockConnection = (tx: Db, connectionId: string) =>
  tx.one<LockedConnection>(sql`
    select id, owner_id, provider, account_label, status, scope, scope_requested, version
      from auth.oauth_tokens where id = ${connectionId} for update`)

/** Compare-and-set on the version: what was refreshed from an older row is not written. @returns whether it was written */
export const replaceTokens = async (
  tx: Db,
  row: {
    id: string
    version: number
    accessToken: string
    /** null keeps the stored one. */
    refreshToken: string | null
    expiresAt: Date
    scope: string
    status: 'active' | 'partial'
    statusReason: string | null
  },
): Promise<boolean> =>
  (
    await tx.rows(sql`
      update auth.oauth_tokens
         set access_token = ${row.accessToken}, refresh_token = coalesce(${row.refreshToken}::text, refresh_token),
             expires_at = ${row.expiresAt}, issued_at = auth.clock(), scope = ${row.scope}, status = ${row.status},
             status_reason = ${row.statusReason}, version = version + 1, updated_at = auth.clock()
       where id = ${row.id} and version = ${row.version}
      returning id`)
  ).length === 1

/** The version stays: it counts tokens, and a refresh that is under way may still bring one. */
export const writeStatus = (tx: Db, row: { id: string; status: ConnectionStatus; reason: string }) =>
  tx.rows(sql`
    update auth.oauth_tokens
       set status = ${row.status}, status_reason = ${row.reason}, updated_at = auth.clock()
     where id = ${row.id}`)

export interface Viewer {
  readonly userId: string
  readonly role: 'user' | 'admin'
}

/** A person, or a service within its scope. */
export type Reader = Viewer | { readonly scope: ConnectionScope }

const visibleTo = (reader: Reader) =>
  'scope' in reader
    ? within(reader.scope, columns)
    : sql`(${reader.role === 'admin'}::boolean or owner_id = ${reader.userId})`

/** Another connection lives on the same grant: same account at the same provider, whoever linked it. */
const shared = sql`exists (
  select from auth.oauth_tokens o
   where o.provider = c.provider and o.account_key = c.account_key and o.id <> c.id
     and o.status not in ('revoking', 'revoked') and o.data_key is not null)`

export interface ToEnd {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly account_label: string
  readonly status: ConnectionStatus
  readonly has_tokens: boolean
}

/** Locked, unless it has ended or is ending already. */
export const lockToEnd = (tx: Db, connectionId: string) =>
  tx.one<ToEnd>(sql`
    select id, owner_id, provider, account_label, status, data_key is not null as has_tokens
      from auth.oauth_tokens
     where id = ${connectionId} and status not in ('revoking', 'revoked') for update`)

/** The version rises: what was refreshed from the tokens of before is not written. */
export const endConnection = (tx: Db, connectionId: string, status: 'revoking' | 'revoked', reason: string) =>
  tx.rows(sql`
    update auth.oauth_tokens
       set status = ${status}, status_reason = ${reason}, version = version + 1, updated_at = auth.clock()
     where id = ${connectionId}`)

/** With the data key everything is gone that could open its tokens, also from copies of the row. */
export const wipeConnection = (tx: Db, connectionId: string) =>
  tx.rows(sql`
    update auth.oauth_tokens
       set data_key = null, access_token = null, refresh_token = null, expires_at = null, issued_at = null
     where id = ${connectionId}`)

export const findAfterwards = (tx: Db, connectionId: string) =>
  tx.one<{ status: string; provider: string; tenant: string | null; shared: boolean }>(sql`
    select c.status, c.provider, c.tenant, ${shared} as shared from auth.oauth_tokens c where c.id = ${connectionId}`)

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
  readonly tenant: string | null
  readonly shared: boolean
}

const viewed = sql`c.id, c.user_id::text user_id, c.provider, c.account_label, c.status, c.status_reason, c.scope, c.scope_requested,
  c.created_at, c.updated_at, c.tenant, ${shared} as shared`

/** Newest first. A user has a handful, an admin at most sees the newest thousand. */
export const findConnections = (db: Db, viewer: Reader) =>
  db.rows<ConnectionRow>(sql`
    select ${viewed} from auth.oauth_tokens c where ${visibleTo(viewer)} order by created_at desc, id limit 1000`)

export const findConnection = (db: Db, connectionId: string, viewer: Reader) =>
  db.one<ConnectionRow>(sql`
    select ${viewed} from auth.oauth_tokens c where id = ${connectionId} and ${visibleTo(viewer)}`)
