/** What is chosen for a connection against its scopes: kinds that are not to be watched, and how often one is checked. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export async function findOff(db: Db, connectionId: string): Promise<readonly string[]> {
  const rows = await db.rows<{ kind: string }>(sql`
    select kind from auth.subscriptions_off where connection_id = ${connectionId} order by kind`)
  return rows.map((row) => row.kind)
}

export const setOff = (tx: Db, connectionId: string, kind: string, off: boolean) =>
  off
    ? tx.rows(sql`
        insert into auth.subscriptions_off (connection_id, kind) values (${connectionId}, ${kind})
        on conflict do nothing`)
    : tx.rows(
        sql`delete from auth.subscriptions_off where connection_id = ${connectionId} and kind = ${kind}`,
      )

/** @param seconds null: as the setting says */
export const setCheckEvery = (tx: Db, subscriptionId: string, seconds: number | null) =>
  tx.rows(sql`
    update auth.subscription_checks
       set every_seconds = ${seconds}::int,
           due_at = case when due_at is null then null
                         else least(due_at, auth.clock() + make_interval(secs => coalesce(${seconds}::int, 0))) end
     where id = ${subscriptionId}`)

/** One that this person may see. */
export const findSeen = (db: Db, id: string, viewer: { readonly userId: string; readonly role: string }) =>
  db.one<{ id: string; connection_id: string; kind: string; state: string }>(sql`
    select s.id, s.connection_id, s.kind, s.state
      from auth.subscriptions s join auth.oauth_tokens c on c.id = s.connection_id
     where s.id = ${id} and (c.owner_id = ${viewer.userId} or ${viewer.role} = 'admin')`)

/** @param kind of one that was found by asking: `calendar:…` is found by `calendar`; counted anew, so that it asks */
export const checkOriginNow = (tx: Db, connectionId: string, kind: string) =>
  tx.rows(sql`
    update auth.subscription_checks k
       set due_at = auth.clock(), cursor = null, checked_at = null, suspected_at = null
      from auth.subscriptions s
     where k.id = s.id and s.connection_id = ${connectionId} and s.kind = split_part(${kind}, ':', 1) and s.state = 'active'`)
