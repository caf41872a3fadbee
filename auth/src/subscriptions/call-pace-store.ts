/**
 * `auth.call_pace`: one row of turns for each provider, taken by all processes alike. Turns are spaced so that a second
 * holds four fifths of `per_second`: what begins a little late still arrives within the limit. A row that lies further
 * ahead than turns are ever waited for was written before the clock went back, and counts as free.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** Makes the rows that are missing. */
export const plantCallPaces = (db: Db, providers: readonly string[]) =>
  db.rows(
    sql`insert into auth.call_pace (provider) select unnest(${providers}::text[]) on conflict do nothing`,
  )

/** @returns seconds until the turn begins, counted from the statement; undefined for a provider without a row */
export const takeCallTurn = async (db: Db, provider: string): Promise<number | undefined> =>
  (
    await db.one<{ in_seconds: number }>(sql`
      with taken as (
        update auth.call_pace p
           set next_at = make_interval(secs => 1.25 / p.per_second) +
                 case when p.next_at > auth.clock() + interval '1 minute' then auth.clock()
                      else greatest(p.next_at, auth.clock()) end
         where p.provider = ${provider}
        returning next_at - make_interval(secs => 1.25 / p.per_second) begins)
      select extract(epoch from begins - auth.clock())::float8 in_seconds from taken`)
  )?.in_seconds
