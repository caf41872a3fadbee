/** Links to an administrator's consent, by the hash of their state: each is used once. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export async function countOpenConsents(tx: Db, ownerId: string): Promise<number> {
  const row = await tx.one<{ open: number }>(sql`
    select count(*)::int as open from auth.admin_consents
     where owner_id = ${ownerId} and used_at is null and expires_at > auth.clock()`)
  return row?.open ?? 0
}

export async function insertConsent(
  tx: Db,
  row: { id: string; stateHash: Buffer; provider: string; ownerId: string; days: number },
): Promise<Date> {
  const inserted = await tx.one<{ expires_at: Date }>(sql`
    insert into auth.admin_consents (id, state_hash, provider, owner_id, expires_at)
    values (${row.id}, ${row.stateHash}, ${row.provider}, ${row.ownerId}, auth.clock() + make_interval(days => ${row.days}))
    returning expires_at`)
  if (inserted === undefined) throw Object.assign(new Error('an insert returned nothing'), { code: 'no_row' })
  return inserted.expires_at
}

/** The one statement by which a link is used. Who may not agree himself does not use it up: it can be passed on. */
export const useConsent = (tx: Db, used: { stateHash: Buffer; provider: string; granted: boolean }) =>
  tx.one<{ id: string; owner_id: string }>(sql`
    update auth.admin_consents set used_at = case when ${used.granted}::boolean then auth.clock() end, granted = ${used.granted}
     where state_hash = ${used.stateHash} and provider = ${used.provider} and used_at is null and expires_at > auth.clock()
    returning id, owner_id`)

export const waitingForAdmin = (tx: Db, ownerId: string, provider: string) =>
  tx.rows<{ id: string }>(sql`
    select id from auth.oauth_tokens
     where owner_id = ${ownerId} and provider = ${provider} and status = 'admin_required' order by id limit 100`)

/** A chore's. */
export const deleteOldConsents = (db: Db) =>
  db.rows(sql`delete from auth.admin_consents where expires_at < auth.clock() - interval '30 days'`)
