/**
 * Claim and extend for the simple kinds of due row, whose table has the columns id, due_at, lease_until, lease_id and
 * claims. Kinds with limits of their own (deliveries) bring their own claim. Table names come from code only.
 */
import type { Db } from '../db/sql.ts'
import { raw, sql } from '../db/sql.ts'
import type { DueRow, Lease, WorkKind } from './work.ts'

export type DueTable =
  | 'auth.subscription_renewals'
  | 'auth.subscription_stops'
  | 'auth.subscription_checks'
  | 'auth.chores'
  | 'auth.dead_retries'
  | 'auth.revocations'
  | 'auth.account_signals'
  | 'auth.erasures'

/** What a kind of due row needs of its table when it has no limits of its own. */
export const dueIn = (table: DueTable): Pick<WorkKind<DueRow>, 'claim' | 'extend' | 'release'> => ({
  claim: (db, lease) => claimDue(db, table, lease),
  extend: (db, row, seconds) => extendLease(db, table, row, seconds),
  release: (db, row, seconds) => releaseLease(db, table, row, seconds),
})

export function claimDue(db: Db, table: DueTable, lease: Lease): Promise<DueRow[]> {
  return db.rows<DueRow>(sql`
    update ${raw(table)} t
       set lease_until = auth.clock() + make_interval(secs => ${lease.seconds}), lease_id = ${lease.id}, claims = t.claims + 1
      from (select id from ${raw(table)}
             where due_at <= auth.clock() and (lease_until is null or lease_until < auth.clock())
             order by due_at limit ${lease.limit} for update skip locked) due
     where t.id = due.id
    returning t.id, t.lease_id, t.claims`)
}

/** @param seconds until it is due again; a delay of zero leaves its time as it is */
export async function releaseLease(
  db: Db,
  table: DueTable | 'auth.deliveries',
  row: DueRow,
  seconds: number,
): Promise<void> {
  await db.rows(sql`
    update ${raw(table)}
       set lease_until = null, lease_id = null, claims = greatest(claims - 1, 0),
           due_at = case when ${seconds}::int > 0 then auth.clock() + make_interval(secs => ${seconds}::int) else due_at end
     where id = ${row.id} and lease_id = ${row.lease_id} and due_at is not null`)
}

export async function extendLease(
  db: Db,
  table: DueTable | 'auth.deliveries',
  row: DueRow,
  seconds: number,
): Promise<boolean> {
  const held = await db.rows(sql`
    update ${raw(table)} set lease_until = auth.clock() + make_interval(secs => ${seconds})
     where id = ${row.id} and lease_id = ${row.lease_id} returning id`)
  return held.length === 1
}
