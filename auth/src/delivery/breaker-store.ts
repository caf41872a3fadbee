/**
 * A destination's health as its attempts tell it, and the few changes of its row that follow: one statement each,
 * conditional on the state that is left, so that of many processes that see the same failures one makes the change.
 * Configuration of destinations is written in `destination-store.ts`.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import {
  BREAKER_ATTEMPTS,
  BREAKER_SECONDS,
  DISABLED_AFTER_DAYS,
  DISABLED_MIN_ATTEMPTS,
  type HealthFacts,
} from './breaker.ts'

/** How far back a success is looked for: longer than it takes to be given up. */
const FAR_BACK = sql`interval '8 days'`

/**
 * Nothing before the breaker's last change counts: what had failed until then has been answered by that change.
 *
 * @returns undefined when the destination is deleted or disabled: nothing is judged any more
 */
export async function readHealthFacts(db: Db, destinationId: string): Promise<HealthFacts | undefined> {
  const row = await db.one<{
    now: Date
    breaker: HealthFacts['breaker']
    failing_since: Date | null
    last_delivered_at: Date | null
    first_failed_at: Date | null
    tried: number
    failed: number
    failed_days: number
    failed_in_days: number
  }>(sql`
    with d as materialized (
      select id, breaker, breaker_changed_at, failing_since,
             greatest(auth.clock() - ${FAR_BACK}, least(breaker_changed_at, failing_since)) as horizon
        from auth.destinations where id = ${destinationId} and deleted_at is null and disabled_at is null
    ), recent as (
      select a.outcome from auth.attempts a
       where a.destination_id = ${destinationId}
         and a.started_at > greatest(auth.clock() - make_interval(secs => ${BREAKER_SECONDS}), (select breaker_changed_at from d))
       order by a.started_at desc limit ${BREAKER_ATTEMPTS}
    ), delivered as materialized (
      select a.started_at from auth.attempts a
       where a.destination_id = ${destinationId} and a.started_at > (select horizon from d) and a.outcome = 'delivered'
       order by a.started_at desc limit 1
    ), failed as (
      select a.started_at from auth.attempts a
       where a.destination_id = ${destinationId}
         and a.started_at > coalesce((select started_at from delivered), (select horizon from d))
       order by a.started_at limit 1
    ), days as (
      select f.count from generate_series(1, ${DISABLED_AFTER_DAYS}::int) n, lateral (
        select count(*)::int from (
          select from auth.attempts a
           where a.destination_id = ${destinationId} and a.outcome = 'failed'
             and a.started_at > greatest(auth.clock() - make_interval(days => n), (select started_at from delivered), (select horizon from d))
             and a.started_at <= auth.clock() - make_interval(days => n - 1)
           limit ${DISABLED_MIN_ATTEMPTS}) tries) f
    )
    select auth.clock() as now, d.breaker, d.failing_since,
           (select started_at from delivered) as last_delivered_at, (select started_at from failed) as first_failed_at,
           (select count(*)::int from recent) as tried, (select count(*)::int from recent where outcome = 'failed') as failed,
           (select count(*)::int from days where count > 0) as failed_days, (select sum(count)::int from days) as failed_in_days
      from d`)
  return (
    row && {
      now: row.now,
      breaker: row.breaker,
      failingSince: row.failing_since,
      lastDeliveredAt: row.last_delivered_at,
      firstFailedAt: row.first_failed_at,
      tried: row.tried,
      failed: row.failed,
      failedDays: row.failed_days,
      failedInDays: row.failed_in_days,
    }
  )
}

/** What is told about a destination: its name, never its address, which can be a secret. */
export interface Changed {
  readonly name: string
  /** Before the change. */
  readonly failing_since: Date | null
}

/** What an earlier address answers, to an attempt that was under way when it changed, says nothing about the present one. */
const isAt = (url: string | undefined) => sql`(${url ?? null}::text is null or d.url = ${url ?? null})`

/** @returns undefined when it was open already, or is deleted or disabled */
export function openBreaker(
  db: Db,
  id: string,
  since: Date,
  probeDelayMs: number,
): Promise<Changed | undefined> {
  return db.one<Changed>(sql`
    update auth.destinations d
       set breaker = 'open', breaker_changed_at = auth.clock(), failing_since = coalesce(d.failing_since, ${since}),
           probe_at = auth.clock() + make_interval(secs => ${probeDelayMs / 1000})
      from (select id, failing_since from auth.destinations where id = ${id} for no key update) old
     where d.id = old.id and d.breaker = 'closed' and d.deleted_at is null and d.disabled_at is null
    returning d.name, old.failing_since`)
}

/** @returns undefined when it was told already, or is deleted or disabled */
export function markFailing(db: Db, id: string, since: Date): Promise<Changed | undefined> {
  return db.one<Changed>(sql`
    update auth.destinations set failing_since = ${since}
     where id = ${id} and failing_since is null and deleted_at is null and disabled_at is null
    returning name, null::timestamptz as failing_since`)
}

/**
 * @param url where the attempt went that says so; absent: what its attempts say together
 * @returns undefined when it was well already, is deleted or disabled, or has another address by now
 */
export function markRecovered(db: Db, id: string, url?: string): Promise<Changed | undefined> {
  return db.one<Changed>(sql`
    update auth.destinations d
       set breaker = 'closed', probe_at = null, failing_since = null,
           breaker_changed_at = case when d.breaker = 'open' then auth.clock() else d.breaker_changed_at end
      from (select id, failing_since from auth.destinations where id = ${id} for no key update) old
     where d.id = old.id and (d.breaker = 'open' or d.failing_since is not null)
       and d.deleted_at is null and d.disabled_at is null and ${isAt(url)}
    returning d.name, old.failing_since`)
}

/**
 * Its deliveries wait, as if paused.
 *
 * @param url where the attempt went that says so; absent: what its attempts say together
 * @returns undefined when it was disabled already, is deleted, or has another address by now
 */
export function disableDestination(
  db: Db,
  id: string,
  reason: 'gone' | 'failing',
  url?: string,
): Promise<Changed | undefined> {
  return db.one<Changed>(sql`
    update auth.destinations d
       set disabled_at = auth.clock(), disabled_reason = ${reason},
           breaker = 'closed', probe_at = null, failing_since = null, breaker_changed_at = auth.clock()
      from (select id, failing_since from auth.destinations where id = ${id} for no key update) old
     where d.id = old.id and d.disabled_at is null and d.deleted_at is null and ${isAt(url)}
    returning d.name, old.failing_since`)
}

/** Only later, never sooner; what differs by less than a second is not written. */
export async function holdDestination(db: Db, id: string, url: string, ms: number): Promise<void> {
  await db.rows(sql`
    update auth.destinations d set held_until = auth.clock() + make_interval(secs => ${ms / 1000})
     where id = ${id} and deleted_at is null and ${isAt(url)}
       and (held_until is null or held_until < auth.clock() + make_interval(secs => ${ms / 1000 - 1}))`)
}

/** Only later, never sooner. */
export async function putOffProbe(db: Db, id: string, url: string, delayMs: number): Promise<void> {
  await db.rows(sql`
    update auth.destinations d
       set probe_at = greatest(probe_at, auth.clock() + make_interval(secs => ${delayMs / 1000}))
     where id = ${id} and breaker = 'open' and ${isAt(url)}`)
}
