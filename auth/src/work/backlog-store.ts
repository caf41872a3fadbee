/**
 * What waits, for the gauges. The age of the oldest due delivery of each destination (throttled, paused and held ones
 * included, for that is what somebody waits for) is one look into an index, however many wait; how many wait has to be
 * counted, which takes a second for a million: two statements, so that the alarm does not depend on the count.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface OldestDue {
  readonly destination: string
  /** 0: nothing is due. */
  readonly oldestDueSeconds: number
  readonly breakerOpen: boolean
}

export interface BacklogCount {
  readonly destination: string
  readonly due: number
  readonly inFlight: number
  readonly dead: number
}

/** The statement alone, so that a test can ask for its plan. */
export const oldestDue = sql`
    with moment as materialized (select auth.clock() as now)
    select d.id as destination, d.breaker = 'open' as "breakerOpen",
           coalesce(extract(epoch from moment.now - o.due_at), 0)::float8 as "oldestDueSeconds"
      from auth.destinations d
     cross join moment
      left join lateral (select w.due_at from auth.deliveries w
                          where w.destination_id = d.id and w.due_at <= moment.now order by w.due_at limit 1) o on true
     where d.deleted_at is null or o.due_at is not null`

/** Of every destination that is there or has something due. */
export const readOldestDue = (db: Db) => db.rows<OldestDue>(oldestDue)

/** Of every destination for which there are rows at all. Reads the whole table. */
export const countBacklog = (db: Db) =>
  db.rows<BacklogCount>(sql`
    with moment as materialized (select auth.clock() as now)
    select destination_id as destination,
           (count(*) filter (where due_at <= now))::int as due,
           (count(*) filter (where lease_until > now))::int as "inFlight",
           (count(*) filter (where due_at is null))::int as dead
      from auth.deliveries, moment group by destination_id`)
