/**
 * The claim of due deliveries. Two statements in one transaction: the second needs a snapshot taken after the locks of
 * the first, or it would count leases as they were before another process took its share. Settling is in
 * `settle-store.ts`. Correct under any number of processes: all of them take a destination's lock before its rows.
 */
import type { Database, Db, Transaction } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface DeliveryRow {
  readonly id: string
  readonly lease_id: string
  readonly claims: number
  readonly event_id: string
  readonly event_recorded_at: Date
  readonly destination_id: string
  readonly attempts: number
}

export interface ClaimTerms {
  readonly id: string
  /** At most 60. */
  readonly seconds: number
  readonly limit: number
}

/** Destinations that one claim looks at; those that wait longest come first, so the others follow in the next ones. */
const DESTINATIONS_A_CLAIM = 64

/** Takes the oldest due deliveries of the destinations that have waited longest, within each one's limits. */
export function claimDueDeliveries(database: Database, lease: ClaimTerms): Promise<DeliveryRow[]> {
  return database.transaction(async (tx) => {
    const destinations = await lockDestinations(tx)
    return destinations.length === 0 ? [] : takeDueDeliveries(tx, destinations, lease)
  })
}

/**
 * `for no key update`, not `for update`: the foreign key of every delivery that ingest inserts takes a key-share lock on
 * its destination, which `for update` would wait for, and which `skip locked` would take for another claimer: under
 * constant ingest nothing would ever be sent. Deleted destinations come along while rows are left: a delivery that was
 * stored while its destination was being deleted is cancelled by whoever claims it.
 */
async function lockDestinations(tx: Transaction): Promise<string[]> {
  const rows = await tx.rows<{ id: string }>(sql`
    with moment as materialized (select auth.clock() as now)
    select d.id
      from auth.destinations d, moment
     where (not d.paused or d.deleted_at is not null)
       and exists (select from auth.deliveries w
                    where w.destination_id = d.id and w.due_at <= moment.now
                      and (w.lease_until is null or w.lease_until <= moment.now))
     order by d.last_served_at
     limit ${DESTINATIONS_A_CLAIM}
       for no key update of d skip locked`)
  return rows.map((row) => row.id)
}

/**
 * - `slot`: what each destination may take now: concurrency minus leases in force (0110 says why `claimed_due_at` bounds
 *   the count), and whole tokens of its bucket, which holds one second's worth.
 * - `candidate` numbers each destination's oldest due rows, `chosen` deals them out in rounds, one for each
 *   destination before a second for any: a backlog takes what is left over, not what others need.
 * - `held` locks and judges again: a row that is being settled or cancelled this moment is skipped, not waited for.
 * - `served` also moves destinations that got nothing to the back; otherwise 64 clogged ones would hide all others.
 */
function takeDueDeliveries(
  tx: Transaction,
  destinations: string[],
  lease: ClaimTerms,
): Promise<DeliveryRow[]> {
  return tx.rows<DeliveryRow>(sql`
    with moment as materialized (select auth.clock() as now),
    bucket as materialized (
      select d.id, d.last_served_at, d.concurrency, d.rate_per_second,
             least(d.rate_per_second, d.tokens + greatest(0, extract(epoch from moment.now - d.tokens_at)) * d.rate_per_second) as tokens,
             (select count(*) from auth.deliveries l
               where l.destination_id = d.id and l.due_at <= d.claimed_due_at and l.lease_until > moment.now) as leased
        from auth.destinations d, moment
       where d.id = any(${destinations}::text[])
    ), slot as (
      select id, last_served_at,
             least(greatest(0, concurrency - leased), coalesce(floor(tokens), ${lease.limit}), ${lease.limit})::bigint as free
        from bucket
    ), candidate as (
      select w.id, slot.last_served_at, row_number() over (partition by slot.id order by w.due_at, w.id) as round
        from slot, moment, lateral (
          select id, due_at from auth.deliveries
           where destination_id = slot.id and due_at <= moment.now
             and (lease_until is null or lease_until <= moment.now)
           order by due_at
           limit slot.free) w
    ), chosen as materialized (
      select id from candidate order by round, last_served_at, id limit ${lease.limit}
    ), held as materialized (
      select d.id from auth.deliveries d, moment
       where d.id in (select id from chosen)
         and d.due_at <= moment.now and (d.lease_until is null or d.lease_until <= moment.now)
         for update of d skip locked
    ), taken as (
      update auth.deliveries d
         set lease_until = moment.now + make_interval(secs => ${lease.seconds}), lease_id = ${lease.id}::uuid, claims = d.claims + 1
        from held, moment
       where d.id = held.id
      returning d.id, d.lease_id, d.claims, d.event_id, d.event_recorded_at, d.destination_id, d.attempts, d.due_at
    ), served as (
      update auth.destinations d
         set last_served_at = moment.now,
             tokens = coalesce(bucket.tokens - got.count, 0), tokens_at = moment.now,
             claimed_due_at = greatest(d.claimed_due_at, got.newest)
        from bucket
        cross join moment
        left join lateral (select count(*) as count, max(due_at) as newest from taken where taken.destination_id = bucket.id) got on true
       where d.id = bucket.id
    )
    select id, lease_id, claims, event_id, event_recorded_at, destination_id, attempts from taken order by due_at, id`)
}

export interface Sending {
  /** Null when the event's day has been dropped. */
  readonly data: Buffer | null
  readonly url: string
  readonly data_key: string
  readonly secret: string
  readonly timeout_ms: number
  readonly deleted: boolean
}

/** What one attempt needs, read anew each time: a changed URL counts from the next attempt on. */
export function loadSending(db: Db, row: DeliveryRow): Promise<Sending | undefined> {
  return db.one<Sending>(sql`
    select e.data, d.url, d.data_key, d.secret, d.timeout_ms, d.deleted_at is not null as deleted
      from auth.destinations d
      left join auth.events e on e.recorded_at = ${row.event_recorded_at} and e.id = ${row.event_id}
     where d.id = ${row.destination_id}`)
}
