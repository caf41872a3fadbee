/** Living connections in order, and one of them held while what it should watch is written down. */
import type { Db, Transaction } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export async function findLiving(db: Db, after: string, limit: number): Promise<readonly string[]> {
  const rows = await db.rows<{ id: string }>(sql`
    select id from auth.oauth_tokens where status in ('active', 'partial') and id > ${after} order by id limit ${limit}`)
  return rows.map((row) => row.id)
}

/** @returns undefined when it is not living any more, or somebody is changing it: then that is what decides */
export const lockLiving = (tx: Transaction, id: string) =>
  tx.one<{ provider: string; scope: string }>(sql`
    select provider, scope from auth.oauth_tokens
     where id = ${id} and status in ('active', 'partial') for no key update skip locked`)

/** With the next start, or a changed setting: not in six hours. One that is under way knew less: it loses its lease. */
export const reconcileNow = (db: Db) =>
  db.rows(sql`
    update auth.chores set due_at = auth.clock(), lease_until = null, lease_id = null, claims = 0
     where id = 'reconcile-subscriptions'`)
