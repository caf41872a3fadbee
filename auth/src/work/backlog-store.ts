/** What waits, for the gauges: due and dead deliveries and the age of the oldest, throttled and paused ones included. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface Backlog {
  readonly due: number
  readonly dead: number
  readonly oldestDueSeconds: number
}

export async function readBacklog(db: Db): Promise<Backlog> {
  const row = await db.one<{ due: string; dead: string; oldest: number }>(sql`
    select count(*) filter (where due_at <= auth.clock()) due, count(*) filter (where state = 'dead') dead,
           coalesce(extract(epoch from auth.clock() - min(due_at) filter (where due_at <= auth.clock())), 0)::float8 oldest
      from auth.deliveries`)
  return { due: Number(row?.due ?? 0), dead: Number(row?.dead ?? 0), oldestDueSeconds: row?.oldest ?? 0 }
}
