/** Which days are there, which are still needed, and dropping one. Never deletes rows of a day: a day goes whole. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export type DailyTable = 'notifications' | 'events' | 'attempts' | 'delivery_outcomes'

export interface Day {
  readonly parent: DailyTable
  /** `2026-11-24`, UTC */
  readonly day: string
}

/**
 * Days whose time has come, oldest first, until the hard limit without those that a delivery still needs.
 * @param keep days to keep of each table, by name
 */
export const findOldDays = (db: Db, keep: Readonly<Record<DailyTable, number>>, hardLimit: number) =>
  db.rows<Day>(sql`
    with today as (select (auth.clock() at time zone 'UTC')::date as today),
    days as (
      select p.relname::text as parent, to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        join pg_class p on p.oid = i.inhparent
       where p.relnamespace = 'auth'::regnamespace and c.relname ~ ('^' || p.relname || '_[0-9]{8}$')
    )
    select parent, day::text
      from days, today, jsonb_each_text(${JSON.stringify(keep)}::jsonb) k
     where k.key = parent and day < today - k.value::int
       and (parent <> 'events' or day < today - ${hardLimit}::int or not exists (
             select from auth.deliveries d
              where d.event_recorded_at >= day::timestamp at time zone 'UTC'
                and d.event_recorded_at < (day + 1)::timestamp at time zone 'UTC'))
     order by day, parent`)

/** @returns false when it was gone @throws 55P03 when somebody reads or writes the table for longer than a moment */
export async function dropDay(db: Db, { parent, day }: Day): Promise<boolean> {
  const row = await db.one<{ dropped: boolean }>(
    sql`select auth.drop_day(${parent}, ${day}::date) as dropped`,
  )
  return row?.dropped === true
}

/** Identities of what arrived so long ago that no provider repeats it. @returns how many, at most `limit` */
export async function deleteOldKeys(db: Db, days: number, limit: number): Promise<number> {
  const rows = await db.rows(sql`
    delete from auth.event_keys
     where ctid = any (array(select ctid from auth.event_keys
                              where recorded_at < auth.clock() - make_interval(days => ${days})
                              order by recorded_at limit ${limit}
                                for update skip locked))
    returning 1`)
  return rows.length
}
