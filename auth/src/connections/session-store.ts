/**
 * Users, sessions and one-time links. Tokens only as hashes. An `auth.users` that the platform made is used as it is:
 * only its `id` is taken for granted, other columns are read if they exist.
 */
import type { Db } from '../db/sql.ts'
import { sql, sqlState } from '../db/sql.ts'

export type Role = 'user' | 'admin'

export interface UserRow {
  readonly id: string
  readonly email: string | null
  readonly name: string | null
}

/** 22P02 and 22003: a text that cannot be an id of this table's type. */
const NOT_AN_ID = ['22P02', '22003']

/** @returns undefined also for a text that cannot be an id. Not for use inside a transaction: such a text aborts it. */
export async function findUser(db: Db, userId: string): Promise<UserRow | undefined> {
  try {
    return await db.one<UserRow>(sql`
      select u.id::text id, to_jsonb(u) ->> 'email' email, to_jsonb(u) ->> 'name' "name"
        from auth.users u where u.id = ${userId}`)
  } catch (error) {
    if (NOT_AN_ID.includes(sqlState(error) ?? '')) return undefined
    throw error
  }
}

export const findUserByEmail = (db: Db, email: string) =>
  db.one<{ id: string }>(sql`
    select id::text id from auth.users where lower(email) = lower(${email}) order by id limit 1`)

/** @throws the server's error where the platform's table wants more than an address and a role */
export const insertUser = (db: Db, user: { email: string; role: Role }) =>
  db.one<{ id: string }>(sql`
    insert into auth.users (email, role) values (${user.email}, ${user.role})
    on conflict do nothing returning id::text id`)

export const insertLink = (
  db: Db,
  link: { tokenHash: Buffer; userId: string; role: Role; validSeconds: number },
) =>
  db.one<{ expires_at: Date }>(sql`
    insert into auth.signin_links (token_hash, user_id, role, expires_at)
    values (${link.tokenHash}, ${link.userId}, ${link.role}, auth.clock() + make_interval(secs => ${link.validSeconds}))
    returning expires_at`)

export interface NewSession {
  readonly tokenHash: Buffer
  readonly familyId: string
  readonly validSeconds: number
}

/** The link is used and the session begins in one statement: of many that redeem it at once, one succeeds. */
export const redeemLink = (db: Db, linkHash: Buffer, session: NewSession) =>
  db.one<{ user_id: string }>(sql`
    with used as (
      update auth.signin_links set used_at = auth.clock()
       where token_hash = ${linkHash} and used_at is null and expires_at > auth.clock()
      returning user_id, role
    )
    insert into auth.sessions (token_hash, family_id, user_id, role, expires_at)
    select ${session.tokenHash}, ${session.familyId}, user_id, role,
           auth.clock() + make_interval(secs => ${session.validSeconds})
      from used
    returning user_id::text user_id`)

/** @param session.endsAt the session ends at the latest then */
export const insertSession = (db: Db, session: NewSession & { userId: string; role: Role; endsAt: Date }) =>
  db.one<{ user_id: string }>(sql`
    insert into auth.sessions (token_hash, family_id, user_id, role, expires_at)
    values (${session.tokenHash}, ${session.familyId}, ${session.userId}, ${session.role},
            least(auth.clock() + make_interval(secs => ${session.validSeconds}), ${session.endsAt}::timestamptz))
    returning user_id::text user_id`)

export interface SessionRow {
  readonly family_id: string
  readonly user_id: string
  readonly role: Role
  readonly expires_at: Date
  readonly email: string | null
  readonly name: string | null
}

export const findSession = (db: Db, tokenHash: Buffer) =>
  db.one<SessionRow>(sql`
    select s.family_id, s.user_id::text user_id, s.role, s.expires_at,
           to_jsonb(u) ->> 'email' email, to_jsonb(u) ->> 'name' "name"
      from auth.sessions s join auth.users u on u.id = s.user_id
     where s.token_hash = ${tokenHash} and s.revoked_at is null and s.expires_at > auth.clock()`)

/** Ends every session of the family that this token belongs to. */
export const revokeFamilyOf = (db: Db, tokenHash: Buffer) =>
  db.rows<{ user_id: string; family_id: string }>(sql`
    update auth.sessions set revoked_at = auth.clock()
     where revoked_at is null
       and family_id = (select family_id from auth.sessions where token_hash = ${tokenHash})
    returning user_id::text user_id, family_id`)

export const deleteOldSessions = (db: Db) =>
  db.rows(sql`delete from auth.sessions where expires_at < auth.clock() - interval '7 days'`)

export const deleteOldLinks = (db: Db) =>
  db.rows(sql`delete from auth.signin_links where expires_at < auth.clock() - interval '7 days'`)
