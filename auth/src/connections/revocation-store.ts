/**
 * The due rows `auth.revocations`: connections that are ended here and still to be ended at their provider. Their tokens
 * stay sealed in the row, whose status gives them to nobody; the last statement of each wipes them.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

/** Beyond this the provider has had its chance: the tokens are wiped whatever it says. */
export const GIVE_UP_HOURS = 24

export const insertRevocation = (tx: Db, connectionId: string) =>
  tx.rows(sql`
    insert into auth.revocations (id) values (${connectionId})
    on conflict (id) do nothing`)

/** Somebody connected the account again: the grant lives on. Whoever works on the row has lost it. */
export const dropRevocation = (tx: Db, connectionId: string) =>
  tx.rows(sql`delete from auth.revocations where id = ${connectionId}`)

export interface Revoking {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly account_key: string
  readonly data_key: string | null
  readonly access_token: string | null
  readonly refresh_token: string | null
  readonly scope: string
  readonly attempts: number
  /** The access token is valid for another minute. */
  readonly usable: boolean
  readonly overdue: boolean
  /** Another connection lives on the same grant: same account at the same provider, whoever linked it. */
  readonly shared: boolean
}

/** Only while the lease is held and the connection is still ending. */
export const findRevoking = (db: Db, due: DueRow) =>
  db.one<Revoking>(sql`
    select c.id, c.owner_id, c.provider, c.account_key, c.data_key, c.access_token, c.refresh_token, c.scope, r.attempts,
           coalesce(c.expires_at > auth.clock() + interval '1 minute', false) as usable,
           r.begun_at < auth.clock() - make_interval(hours => ${GIVE_UP_HOURS}) as overdue,
           exists (select from auth.oauth_tokens o
                    where o.provider = c.provider and o.account_key = c.account_key and o.id <> c.id
                      and o.status not in ('revoking', 'revoked') and o.data_key is not null) as shared
      from auth.revocations r join auth.oauth_tokens c on c.id = r.id
     where r.id = ${due.id} and r.lease_id = ${due.lease_id}::uuid and c.status = 'revoking'`)

/** The row of a connection that is not ending any more has nothing to do. */
export const dropHeld = (db: Db, due: DueRow) =>
  db.rows(sql`delete from auth.revocations where id = ${due.id} and lease_id = ${due.lease_id}::uuid`)

/** @returns false: lease lost */
export async function deferRevocation(db: Db, due: DueRow, seconds: number): Promise<boolean> {
  const rows = await db.rows(sql`
    update auth.revocations
       set due_at = auth.clock() + make_interval(secs => ${seconds}), lease_until = null, lease_id = null, claims = 0,
           attempts = attempts + 1
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid returning id`)
  return rows.length === 1
}

/** The data key goes, and with it every copy of what it sealed. @returns undefined: lease lost */
export const finishRevocation = (tx: Db, due: DueRow) =>
  tx.one<{ owner_id: string; provider: string }>(sql`
    with done as (
      delete from auth.revocations where id = ${due.id} and lease_id = ${due.lease_id}::uuid returning id
    )
    update auth.oauth_tokens c
       set status = 'revoked', data_key = null, access_token = null, refresh_token = null, expires_at = null, issued_at = null,
           version = version + 1, updated_at = auth.clock()
      from done where c.id = done.id and c.status = 'revoking'
    returning c.owner_id, c.provider`)
