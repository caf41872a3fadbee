/**
 * Why an open delivery does not go now, in SQL: for a delivery `w` with `state` and `lease_until`, its destination `d`,
 * and a `moment` whose `now` is the database's. The claim (`store.ts`) decides by the same columns; this only tells.
 */
import type { Sql } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export type Waiting = 'sending' | 'scheduled' | 'throttled' | 'paused' | 'disabled' | 'breaker_open'

/** Null unless it is open. @param dueAt the column that says when it is due */
export function waitingOf(dueAt: Sql): Sql {
  return sql`
           case when w.state <> 'open' then null
                when w.lease_until > moment.now then 'sending'
                when d.disabled_at is not null then 'disabled'
                when d.paused then 'paused'
                when d.breaker = 'open' then 'breaker_open'
                when ${dueAt} > moment.now then 'scheduled'
                else 'throttled' end`
}

/** Until when its destination is left alone: by the receiver's wish, and by an open breaker. Null unless it is open. */
export const waitsUntil: Sql = sql`
           case when w.state = 'open' and d.held_until > moment.now then d.held_until end as held_until,
           case when w.state = 'open' then d.probe_at end as probe_at`
