/**
 * What was to go to a destination that is being deleted: open and dead deliveries end as `cancelled`, some thousand with
 * one statement, because a million would take longer than a statement may. Attempts that were made stay.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export const countDeliveriesOf = async (db: Db, destinationId: string): Promise<number> =>
  Number(
    (
      await db.one<{ n: string }>(
        sql`select count(*) as n from auth.deliveries where destination_id = ${destinationId}`,
      )
    )?.n ?? 0,
  )

/**
 * The caller has made sure of today's partition (`ensureToday`), for a failed statement would end his transaction. A row
 * that is being settled this moment is left. Each gets a time of its own: a page of the list sorts what has the same time.
 *
 * @returns how many, at most `limit`
 */
export async function cancelDeliveriesOf(db: Db, destinationId: string, limit: number): Promise<number> {
  const row = await db.one<{ n: number }>(sql`
    with found as materialized (
      (select id from auth.deliveries where destination_id = ${destinationId} and due_at is not null limit ${limit})
      union all
      (select id from auth.deliveries where destination_id = ${destinationId} and due_at is null limit ${limit})
    ), held as materialized (
      select id from auth.deliveries where id = any(array(select id from found limit ${limit})) order by id for update skip locked
    ), gone as (
      delete from auth.deliveries where id in (select id from held) returning *
    ), moment as materialized (select auth.clock() as now),
    ended as (
      insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, finished_at)
      select id, event_id, event_recorded_at, destination_id, rule_id, 'cancelled', 'destination_deleted', attempts, created_at,
             moment.now + row_number() over () * interval '1 microsecond'
        from gone, moment
      returning 1
    )
    select count(*)::int as n from ended`)
  return row?.n ?? 0
}

/** Deleted destinations for which rows are left. */
export const findDeletedWithDeliveries = (db: Db) =>
  db.rows<{ id: string }>(sql`
    select d.id from auth.destinations d
     where d.deleted_at is not null
       and ((select true from auth.deliveries w where w.destination_id = d.id and w.due_at is not null limit 1)
            or (select true from auth.deliveries w where w.destination_id = d.id and w.due_at is null limit 1))
     order by d.deleted_at`)
