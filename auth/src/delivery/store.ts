/**
 * The claim of due deliveries. Two statements in one transaction: the second needs a snapshot taken after the locks of
 * the first, or it would count leases as they were before another process took its share. Settling is in
 * `settle-store.ts`. Correct under any number of processes: all of them take a destination's lock before its rows.
 */
import type { Database, Transaction } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface DeliveryRow {
  readonly id: string
  readonly lease_id: string
  readonly claims: number
  readonly event_id: string
  readonly event_recorded_at: Date
  readonly destination_id: string
  readonly attempts: number
  /** Attempts made before the plan began that is running now. */
  readonly plan_start: number
}

export interface ClaimTerms {
  readonly id: string
  /** At most 60. */
  readonly seconds: number
  readonly limit: number
}

/**
 * What is claimed within this span counts against the rate. The second of the promise, and as much again as may pass
 * between a claim and its arrival: the receiver counts arrivals, not claims.
 */
const RATE_WINDOW = sql`interval '1.2 seconds'`
/** One delivery of a destination whose breaker is open, no more often than this. */
const PROBE_EVERY = sql`interval '30 seconds'`

/** Destinations that one claim looks at; those that wait longest come first, so the others follow in the next ones. */
const DESTINATIONS_A_CLAIM = 64

/** Takes the oldest due deliveries of the destinations that have waited longest, within each one's limits. */
export function claimDueDeliveries(database: Database, lease: ClaimTerms): Promise<DeliveryRow[]> {
  return database.transaction(async (tx) => {
    await prepareClaim(tx)
    const destinations = await lockDestinations(tx)
    return destinations.length === 0 ? [] : takeDueDeliveries(tx, destinations, lease)
  })
}

/**
 * The plans of a claim are made once for each connection, and by indexes alone: made anew they cost more than a claim,
 * and one that was made while nothing waited would read the whole table when a million rows do. It waits for no disk: a
 * server that crashes forgets the claims of its last moment, and what they sent is sent again (decision 53).
 */
async function prepareClaim(tx: Transaction): Promise<void> {
  await tx.rows(
    sql`
    select set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
           set_config('synchronous_commit', 'off', true)`,
    'prepare-claim',
  )
}

/**
 * `for no key update`, not `for update`: the foreign key of every delivery that ingest inserts takes a key-share lock on
 * its destination, which `for update` would wait for, and which `skip locked` would take for another claimer: under
 * constant ingest nothing would ever be sent. Deleted destinations come along while rows are left: a delivery that was
 * stored while its destination was being deleted is cancelled by whoever claims it. The first due row of each is looked
 * up by itself: as `exists` it becomes a join that reads the whole table when one destination has a backlog (557 ms a
 * claim with a million rows, 13 ms this way).
 */
async function lockDestinations(tx: Transaction): Promise<string[]> {
  const rows = await tx.rows<{ id: string }>(
    sql`
    with moment as materialized (select auth.clock() as now)
    select d.id
      from auth.destinations d, moment
     where (d.deleted_at is not null
            or (not d.paused and d.disabled_at is null and (d.breaker = 'closed' or d.probe_at <= moment.now)
                and (d.held_until is null or d.held_until <= moment.now)))
       and (select true from auth.deliveries w
             where w.destination_id = d.id and w.due_at <= moment.now
               and (w.lease_until is null or w.lease_until <= moment.now)
             order by w.due_at limit 1)
     order by d.last_served_at
     limit ${DESTINATIONS_A_CLAIM}
       for no key update of d skip locked`,
    'lock-destinations',
  )
  return rows.map((row) => row.id)
}

/**
 * - `slot`: what each destination may take now: concurrency minus leases in force (0110 says why `claimed_due_at` bounds
 *   the count), and what its rate leaves of a sliding window; one, as a probe, where the breaker is open.
 * - `candidate` numbers each destination's oldest due rows, `chosen` deals them out in rounds, one for each
 *   destination before a second for any: a backlog takes what is left over, not what others need.
 * - `held` locks and judges again: a row that is being settled or cancelled this moment is skipped, not waited for.
 *   Places are those of the statement's snapshot: a row that was written between it and the lock has moved, is found by
 *   neither of the two that look by place, and is left as it is, uncounted, to the next claim.
 * - `served` also moves destinations that got nothing to the back; otherwise 64 clogged ones would hide all others.
 */
function takeDueDeliveries(
  tx: Transaction,
  destinations: string[],
  lease: ClaimTerms,
): Promise<DeliveryRow[]> {
  return tx.rows<DeliveryRow>(
    sql`
    with moment as materialized (select auth.clock() as now),
    bucket as materialized (
      select d.id, d.last_served_at, d.concurrency, d.breaker, d.rate_per_second,
             d.rate_per_second - (select coalesce(sum(r.claims), 0) from unnest(d.recent_at, d.recent_claims) r (at, claims)
                                   where r.at > moment.now - ${RATE_WINDOW}) as rate_left,
             (select count(*) from auth.deliveries l
               where l.destination_id = d.id and l.due_at <= d.claimed_due_at and l.lease_until > moment.now) as leased
        from auth.destinations d, moment
       where d.id = any(${destinations}::text[])
    ), slot as (
      select id, last_served_at,
             greatest(0, least(concurrency - leased, coalesce(rate_left, ${lease.limit}), ${lease.limit},
                               case when breaker = 'open' then 1 else ${lease.limit} end))::bigint as free
        from bucket
    ), few as materialized (
      select w.place, w.due_at, slot.id, slot.last_served_at
        from slot, moment, lateral (
          select ctid as place, due_at from auth.deliveries
           where destination_id = slot.id and due_at <= moment.now
             and (lease_until is null or lease_until <= moment.now)
           order by due_at
           limit least(slot.free, (select 2 * ceil(${lease.limit}::int / count(*)::float8)::bigint from slot))) w
    ), candidate as (
      select * from few where (select count(*) from few) >= ${lease.limit}
      union all
      select w.place, w.due_at, slot.id, slot.last_served_at
        from slot, moment, lateral (
          select ctid as place, due_at from auth.deliveries
           where destination_id = slot.id and due_at <= moment.now
             and (lease_until is null or lease_until <= moment.now)
           order by due_at
           limit slot.free) w
       where (select count(*) from few) < ${lease.limit}
    ), chosen as materialized (
      select place from (select place, last_served_at, row_number() over (partition by id order by due_at) as round from candidate) dealt
       order by round, last_served_at limit ${lease.limit}
    ), held as materialized (
      select d.ctid as place from auth.deliveries d, moment
       where d.ctid = any(array(select place from chosen))
         and d.due_at <= moment.now and (d.lease_until is null or d.lease_until <= moment.now)
         for update of d skip locked
    ), taken as (
      update auth.deliveries d
         set lease_until = moment.now + make_interval(secs => ${lease.seconds}), lease_id = ${lease.id}::uuid, claims = d.claims + 1
        from moment
       where d.ctid = any(array(select place from held))
      returning d.id, d.lease_id, d.claims, d.event_id, d.event_recorded_at, d.destination_id, d.attempts, d.plan_start, d.due_at
    ), served as (
      update auth.destinations d
         set last_served_at = moment.now,
             claimed_due_at = greatest(d.claimed_due_at, got.newest),
             probe_at = case when d.breaker = 'open' and got.count > 0 then moment.now + ${PROBE_EVERY} else d.probe_at end,
             (recent_at, recent_claims) = (
               select coalesce(array_agg(w.at order by w.at), '{}'), coalesce(array_agg(w.claims order by w.at), '{}')
                 from (select e.at, sum(e.claims)::int as claims
                         from (select r.at, r.claims from unnest(d.recent_at, d.recent_claims) r (at, claims)
                               union all
                               select date_bin('50 ms', moment.now, timestamptz '2000-01-01') + interval '50 ms', got.count
                                where got.count > 0) e (at, claims)
                        where e.at > moment.now - ${RATE_WINDOW} and bucket.rate_per_second is not null
                        group by e.at) w)
        from bucket
        cross join moment
        left join lateral (select count(*) as count, max(due_at) as newest from taken where taken.destination_id = bucket.id) got on true
       where d.id = bucket.id
    )
    select id, lease_id, claims, event_id, event_recorded_at, destination_id, attempts, plan_start from taken order by due_at, id`,
    'claim-deliveries',
  )
}
