/** Subscriptions that are stopped here and may still live at the provider. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

const left = sql`state = 'stopped' and ended_at_provider is null and provider_subscription_id is not null and expires_at > auth.clock()`

export const findToStop = (db: Db, connectionId: string) =>
  db.rows<{ id: string; resource: string; provider_subscription_id: string }>(sql`
    select id, resource, provider_subscription_id from auth.subscriptions
     where connection_id = ${connectionId} and ${left} order by created_at, id`)

export async function hasSubscriptionsToStop(db: Db, connectionId: string): Promise<boolean> {
  const row = await db.one(sql`
    select 1 from auth.subscriptions where connection_id = ${connectionId} and ${left} limit 1`)
  return row !== undefined
}

export const markEnded = (db: Db, id: string) =>
  db.rows(sql`update auth.subscriptions set ended_at_provider = auth.clock() where id = ${id}`)
