/** Callers and the hashes of their tokens. A caller is never deleted: the audit trail names it. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface CallerRow {
  readonly name: string
  readonly permissions: readonly string[]
  readonly all_connections: boolean
  readonly providers: readonly string[]
  readonly users: readonly string[]
  readonly connections: readonly string[]
}

/** @returns whether the name was free */
export const insertCaller = async (tx: Db, row: CallerRow): Promise<boolean> =>
  (
    await tx.rows(sql`
      insert into auth.callers (name, permissions, all_connections, providers, users, connections)
      values (${row.name}, ${row.permissions}::text[], ${row.all_connections}, ${row.providers}::text[],
              ${row.users}::text[], ${row.connections}::text[])
      on conflict do nothing returning name`)
  ).length === 1

export const insertCallerToken = (tx: Db, row: { tokenHash: Buffer; caller: string }) =>
  tx.rows(sql`insert into auth.caller_tokens (token_hash, caller) values (${row.tokenHash}, ${row.caller})`)

/** A live caller, kept as it is until the transaction ends: rotations happen one after the other. */
export const lockCaller = (tx: Db, name: string) =>
  tx.one<{ name: string }>(
    sql`select name from auth.callers where name = ${name} and revoked_at is null for update`,
  )

/**
 * Lets the present token live on for the overlap; one from an earlier rotation ends now, so that two are valid at most.
 * @returns when the present token ends
 */
export const endTokensAfter = async (
  tx: Db,
  row: { caller: string; overlapSeconds: number },
): Promise<Date | undefined> =>
  (
    await tx.rows<{ expires_at: Date; was_present: boolean }>(sql`
      with before as (select token_hash, expires_at from auth.caller_tokens where caller = ${row.caller})
      update auth.caller_tokens t
         set expires_at = least(before.expires_at, auth.clock() + case when before.expires_at is null
               then make_interval(secs => ${row.overlapSeconds}) else interval '0' end)
        from before where t.token_hash = before.token_hash
      returning t.expires_at, before.expires_at is null was_present`)
  ).find(({ was_present }) => was_present)?.expires_at

/** @returns whether there was a live caller of the name */
export const revokeCallerRow = async (tx: Db, name: string): Promise<boolean> =>
  (
    await tx.rows(sql`
      update auth.callers set revoked_at = auth.clock() where name = ${name} and revoked_at is null returning name`)
  ).length === 1

/** The live caller of a live token. */
export const findCallerOfToken = (db: Db, tokenHash: Buffer) =>
  db.one<CallerRow>(sql`
    select c.name, c.permissions, c.all_connections, c.providers, c.users, c.connections
      from auth.caller_tokens t join auth.callers c on c.name = t.caller
     where t.token_hash = ${tokenHash} and c.revoked_at is null
       and (t.expires_at is null or t.expires_at > auth.clock())`)

export interface ListedCaller extends CallerRow {
  readonly created_at: Date
  readonly revoked_at: Date | null
  readonly live_tokens: number
  /** When the older one of two tokens ends. */
  readonly overlap_until: Date | null
}

export const findCallers = (db: Db) =>
  db.rows<ListedCaller>(sql`
    select c.name, c.permissions, c.all_connections, c.providers, c.users, c.connections, c.created_at, c.revoked_at,
           count(t.*) filter (where t.expires_at is null or t.expires_at > auth.clock())::int live_tokens,
           max(t.expires_at) filter (where t.expires_at > auth.clock()) overlap_until
      from auth.callers c left join auth.caller_tokens t on t.caller = c.name
     group by c.name order by c.revoked_at nulls first, c.name`)
