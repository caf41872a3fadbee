/**
 * How a destination is doing, for the console: its state, what waits there, and the last hour minute by minute as its
 * attempts tell it. Reads only. What is counted costs as much as the destination has to do, so an open page is given
 * counts that are a little old rather than a share of the database.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { rationed } from '../platform/rationed.ts'

export interface HealthMinute {
  readonly at: string
  readonly delivered: number
  readonly failed: number
  /** Milliseconds of the attempts of that minute; null without any. */
  readonly p50_ms: number | null
  readonly p95_ms: number | null
}

export interface DestinationHealth {
  readonly destination_id: string
  readonly state: 'active' | 'failing' | 'paused' | 'disabled'
  readonly disabled_reason: string | null
  readonly breaker: 'closed' | 'open'
  /** Of an open breaker: when the next single delivery is tried. */
  readonly probe_at: string | null
  /** Until when the receiver asked to be left alone; null when that is over. */
  readonly held_until: string | null
  readonly failing_since: string | null
  readonly open: number
  readonly due: number
  readonly in_flight: number
  readonly dead: number
  readonly oldest_due_seconds: number
  readonly last_hour: {
    readonly delivered: number
    readonly failed: number
    readonly p50_ms: number | null
    readonly p95_ms: number | null
    /** Sixty, oldest first. */
    readonly minutes: readonly HealthMinute[]
  }
}

interface StandingRow {
  readonly state: DestinationHealth['state']
  readonly disabled_reason: string | null
  readonly breaker: DestinationHealth['breaker']
  readonly probe_at: Date | null
  readonly held_until: Date | null
  readonly failing_since: Date | null
}

type WaitingRow = Pick<DestinationHealth, 'open' | 'due' | 'in_flight' | 'dead' | 'oldest_due_seconds'>

interface MinuteRow {
  /** Null: the whole hour. */
  readonly at: Date | null
  readonly delivered: number
  readonly failed: number
  readonly p50_ms: number | null
  readonly p95_ms: number | null
}

/** @returns undefined when there is no such destination */
export type ReadDestinationHealth = (id: string) => Promise<DestinationHealth | undefined>

export function openDestinationHealth(db: Db, monotonicMs: () => number): ReadDestinationHealth {
  const counted = rationed(monotonicMs, async (id) => ({
    waiting: await readWaiting(db, id),
    rows: await readLastHour(db, id),
  }))
  return async (id) => {
    const standing = await readStanding(db, id)
    if (standing === undefined) return undefined
    const { waiting, rows } = await counted(id)
    const hour = rows.find((row) => row.at === null)
    return {
      destination_id: id,
      ...standing,
      probe_at: standing.probe_at?.toISOString() ?? null,
      held_until: standing.held_until?.toISOString() ?? null,
      failing_since: standing.failing_since?.toISOString() ?? null,
      ...waiting,
      last_hour: {
        delivered: hour?.delivered ?? 0,
        failed: hour?.failed ?? 0,
        p50_ms: hour?.p50_ms ?? null,
        p95_ms: hour?.p95_ms ?? null,
        minutes: rows.flatMap(({ at, ...minute }) =>
          at === null ? [] : [{ at: at.toISOString(), ...minute }],
        ),
      },
    }
  }
}

const readStanding = (db: Db, id: string) =>
  db.one<StandingRow>(sql`
    select case when disabled_at is not null then 'disabled' when paused then 'paused'
                when failing_since is not null then 'failing' else 'active' end as state,
           disabled_reason, breaker, probe_at, failing_since,
           case when held_until > auth.clock() then held_until end as held_until
      from auth.destinations where id = ${id} and deleted_at is null`)

async function readWaiting(db: Db, id: string): Promise<WaitingRow> {
  const row = await db.one<WaitingRow>(sql`
    with moment as materialized (select auth.clock() as now)
    select count(*) filter (where due_at is not null)::int as open, count(*) filter (where due_at <= now)::int as due,
           count(*) filter (where lease_until > now)::int as in_flight, count(*) filter (where due_at is null)::int as dead,
           coalesce(extract(epoch from now - min(due_at) filter (where due_at <= now)), 0)::float8 as oldest_due_seconds
      from moment left join auth.deliveries on destination_id = ${id} group by now`)
  return row ?? { open: 0, due: 0, in_flight: 0, dead: 0, oldest_due_seconds: 0 }
}

/** Every minute has a row, those without attempts too; one more row for the hour. */
function readLastHour(db: Db, id: string): Promise<MinuteRow[]> {
  return db.rows<MinuteRow>(sql`
    with minutes as (
      select auth.clock() - interval '1 hour' + n * interval '1 minute' as at from generate_series(0, 59) n
    )
    select m.at, count(a.outcome) filter (where a.outcome = 'delivered')::int as delivered,
           count(a.outcome) filter (where a.outcome = 'failed')::int as failed,
           percentile_cont(0.5) within group (order by a.duration_ms) as p50_ms,
           percentile_cont(0.95) within group (order by a.duration_ms) as p95_ms
      from minutes m
      left join auth.attempts a
        on a.destination_id = ${id} and a.started_at >= m.at and a.started_at < m.at + interval '1 minute'
     group by grouping sets ((m.at), ())
     order by m.at nulls last`)
}
