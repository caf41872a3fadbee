/**
 * Ends what waited past retention's hard limit, paused and dead deliveries included: each becomes an outcome `expired`,
 * which the list shows. What a worker holds this moment is left to it.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { ensureToday } from './settle-store.ts'

/** @returns how many, by destination; at most `limit` in all */
export async function expireDeliveries(
  db: Db,
  olderThanDays: number,
  limit: number,
): Promise<readonly { readonly destination_id: string; readonly count: number }[]> {
  await ensureToday(db)
  return db.rows<{ destination_id: string; count: number }>(sql`
    with old as (
      select id from auth.deliveries
       where event_recorded_at < ((auth.clock() at time zone 'UTC')::date - ${olderThanDays}::int)::timestamp at time zone 'UTC'
         and (lease_until is null or lease_until <= auth.clock())
       order by event_recorded_at limit ${limit}
         for update skip locked
    ), gone as (
      delete from auth.deliveries where id in (select id from old) returning *
    ), ended as (
      insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, finished_at)
      select id, event_id, event_recorded_at, destination_id, rule_id, 'expired', 'retention', attempts, created_at, auth.clock()
        from gone
      returning destination_id
    )
    select destination_id, count(*)::int as count from ended group by 1 order by 1`)
}
