/**
 * `auth.call_pace`: one row of turns for each provider and way of calling it, taken by all processes alike. Turns are
 * spaced so that a second holds four fifths of `per_second`: what begins a little late still arrives within the limit. A
 * row that lies further ahead than turns are ever waited for was written before the clock went back, and counts as free.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface NewPace {
  readonly name: string
  readonly perSecond: number
}

/** Makes the rows that are missing; what an operator changed stays. */
export const plantCallPaces = (db: Db, paces: readonly NewPace[]) =>
  db.rows(sql`
    insert into auth.call_pace (provider, per_second)
    select * from unnest(${paces.map(({ name }) => name)}::text[], ${paces.map(({ perSecond }) => perSecond)}::int[])
    on conflict do nothing`)

/**
 * @param withinSeconds a turn that begins later than that is left to others
 * @returns seconds until the turn begins, counted from the statement; undefined for a pace without a row, or none so soon
 */
export const takeCallTurn = async (
  db: Db,
  pace: string,
  withinSeconds: number,
): Promise<number | undefined> =>
  (
    await db.one<{ in_seconds: number }>(sql`
      with taken as (
        update auth.call_pace p
           set next_at = make_interval(secs => 1.25 / p.per_second) +
                 case when p.next_at > auth.clock() + interval '1 minute' then auth.clock()
                      else greatest(p.next_at, auth.clock()) end
         where p.provider = ${pace}
           and (p.next_at <= auth.clock() + make_interval(secs => ${withinSeconds})
                or p.next_at > auth.clock() + interval '1 minute')
        returning next_at - make_interval(secs => 1.25 / p.per_second) begins)
      select extract(epoch from begins - auth.clock())::float8 in_seconds from taken`)
  )?.in_seconds
