/**
 * What waits, for the gauges: due, leased and dead deliveries of each destination and the age of the oldest due one,
 * throttled, paused and held ones included, for that is what somebody waits for.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DestinationGauges } from '../platform/metrics.ts'

export interface Backlog {
  readonly due: number
  readonly dead: number
  readonly oldestDueSeconds: number
  readonly destinations: readonly DestinationGauges[]
}

export async function readBacklog(db: Db): Promise<Backlog> {
  const rows = await db.rows<{
    id: string
    due: string
    in_flight: string
    dead: string
    oldest: number
    open: boolean
  }>(sql`
    with moment as materialized (select auth.clock() as now)
    select d.id, d.breaker = 'open' as open,
           coalesce(w.due, 0) as due, coalesce(w.in_flight, 0) as in_flight, coalesce(w.dead, 0) as dead, coalesce(w.oldest, 0) as oldest
      from auth.destinations d
      left join (select destination_id, count(*) filter (where due_at <= now) as due, count(*) filter (where lease_until > now) as in_flight,
                        count(*) filter (where due_at is null) as dead,
                        extract(epoch from now - min(due_at) filter (where due_at <= now))::float8 as oldest
                   from auth.deliveries, moment group by destination_id, now) w on w.destination_id = d.id
     where d.deleted_at is null or w.destination_id is not null`)
  const destinations = rows.map((row) => ({
    destination: row.id,
    due: Number(row.due),
    inFlight: Number(row.in_flight),
    dead: Number(row.dead),
    oldestDueSeconds: row.oldest,
    breakerOpen: row.open,
  }))
  const sum = (of: 'due' | 'dead') => destinations.reduce((total, one) => total + one[of], 0)
  return {
    due: sum('due'),
    dead: sum('dead'),
    oldestDueSeconds: Math.max(0, ...destinations.map((one) => one.oldestDueSeconds)),
    destinations,
  }
}
