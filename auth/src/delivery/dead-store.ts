/**
 * Dead deliveries and their way back: one conditional update each, so that a retry happens once however often it is
 * asked for. `auth.dead_retries` is written here alone; the deliveries of a running retry are released some at a time.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'
import { isDelivery } from './delivery-history-store.ts'

/**
 * Open again and due now, with a plan that begins anew.
 *
 * @returns undefined when it is not dead (any more)
 */
export function reviveDelivery(db: Db, id: string): Promise<{ destination_id: string } | undefined> {
  return db.one<{ destination_id: string }>(sql`
    update auth.deliveries
       set state = 'open', reason = null, dead_at = null, due_at = auth.clock(), plan_start = attempts, claims = 0
     where id = ${id} and state = 'dead'
    returning destination_id`)
}

/** Wherever it stands. */
export async function readDeliveryState(db: Db, id: string): Promise<string | undefined> {
  const row = await db.one<{ state: string }>(sql`
    select state from auth.deliveries where id = ${id}
    union all
    select state from (select state from auth.delivery_outcomes w where ${isDelivery(id)} limit 1) o`)
  return row?.state
}

/** @returns undefined when there is no such destination */
export async function countDead(db: Db, destinationId: string): Promise<number | undefined> {
  const row = await db.one<{ count: string }>(sql`
    select (select count(*) from auth.deliveries where destination_id = d.id and due_at is null) as count
      from auth.destinations d where d.id = ${destinationId} and d.deleted_at is null`)
  return row && Number(row.count)
}

export interface DeadRetryRow {
  readonly id: string
  readonly expected: number
  readonly released: number
  readonly running: boolean
}

export interface DeadRetryInsert {
  readonly id: string
  readonly destinationId: string
  readonly requestedBy: string
  readonly idempotencyKey: string
  readonly expected: number
}

/** @returns undefined when this destination has one with that key, or another one that still runs */
export function insertDeadRetry(db: Db, retry: DeadRetryInsert): Promise<DeadRetryRow | undefined> {
  return db.one<DeadRetryRow>(sql`
    insert into auth.dead_retries (id, destination_id, requested_by, idempotency_key, died_until, expected)
    values (${retry.id}, ${retry.destinationId}, ${retry.requestedBy}, ${retry.idempotencyKey}, auth.clock(), ${retry.expected})
    on conflict do nothing
    returning id, expected, released, due_at is not null as running`)
}

export function findDeadRetry(db: Db, destinationId: string, key: string): Promise<DeadRetryRow | undefined> {
  return db.one<DeadRetryRow>(sql`
    select id, expected, released, due_at is not null as running
      from auth.dead_retries where destination_id = ${destinationId} and idempotency_key = ${key}`)
}

export interface Released {
  readonly released: number
  /** Dead ones that are still to come. */
  readonly left: boolean
  /** The destination takes nothing now: paused, disabled, or its breaker is open. */
  readonly held: boolean
}

/**
 * Releases dead deliveries, oldest first, as long as fewer than `room` wait to be claimed: what is live goes first, and
 * at most `room` of these stand before it. A deleted destination has no dead ones left.
 *
 * @returns undefined when the lease was lost
 */
export async function releaseDead(db: Db, row: DueRow, room: number): Promise<Released | undefined> {
  return db.one<Released>(sql`
    with mine as (
      select r.id, r.destination_id, r.died_until, d.paused or d.disabled_at is not null or d.breaker = 'open' as held
        from auth.dead_retries r join auth.destinations d on d.id = r.destination_id
       where r.id = ${row.id} and r.lease_id = ${row.lease_id}::uuid
         for update of r
    ), waiting as (
      select count(*) as count
        from mine, lateral (select from auth.deliveries w
                             where w.destination_id = mine.destination_id and w.due_at <= auth.clock()
                               and (w.lease_until is null or w.lease_until <= auth.clock()) limit ${room}) w
    ), chosen as materialized (
      select w.id from mine, lateral (
        select id from auth.deliveries
         where destination_id = mine.destination_id and due_at is null and dead_at <= mine.died_until
         order by dead_at, id
         limit case when mine.held then 0 else greatest(0, ${room} - (select count from waiting)) end
           for update skip locked) w
    ), back as (
      update auth.deliveries d
         set state = 'open', reason = null, dead_at = null, due_at = auth.clock(), plan_start = d.attempts, claims = 0
        from chosen where d.id = chosen.id
      returning d.id
    ), counted as (
      update auth.dead_retries r set released = r.released + (select count(*) from back) from mine where r.id = mine.id
      returning r.id
    )
    select mine.held, (select count(*)::int from back) as released,
           exists (select from auth.deliveries w
                    where w.destination_id = mine.destination_id and w.due_at is null and w.dead_at <= mine.died_until
                      and w.id not in (select id from back)) as left
      from mine join counted on counted.id = mine.id`)
}

/** @param seconds until the next release; null: it is finished */
export async function settleDeadRetry(db: Db, row: DueRow, seconds: number | null): Promise<void> {
  await db.rows(sql`
    update auth.dead_retries
       set due_at = auth.clock() + make_interval(secs => ${seconds}::float8),
           lease_until = null, lease_id = null, claims = 0, attempts = attempts + 1
     where id = ${row.id} and lease_id = ${row.lease_id}::uuid`)
}

/** Finished ones are remembered for as long as a person could press the same button again. @returns how many went */
export async function deleteOldDeadRetries(db: Db): Promise<number> {
  const rows = await db.rows(
    sql`delete from auth.dead_retries where due_at is null and created_at < auth.clock() - interval '30 days' returning 1`,
  )
  return rows.length
}
