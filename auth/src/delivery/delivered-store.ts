/**
 * Deliveries that came through, settled together: one statement writes each one's attempt and outcome and takes it out
 * of the hot table, for every row whose lease is still the settler's own. Rows are locked in the order of their ids, so
 * that two statements never wait for one another. They are deleted by id, not by place: a heartbeat that commits while
 * the lock is waited for moves a row to a place that this statement's snapshot does not see.
 */
import { byteaArray, doubleArray, integerArray, textArray, timestampArray } from '../db/binary-array.ts'
import type { Db } from '../db/sql.ts'
import { sql, sqlState } from '../db/sql.ts'
import { type Attempt, ensureToday } from './settle-store.ts'
import type { DeliveryRow } from './store.ts'

export interface Delivered {
  readonly row: Pick<DeliveryRow, 'id' | 'lease_id'>
  readonly attempt: Attempt
}

/** @returns for each: false when its lease was no longer ours, so that its result is dropped */
export async function settleDelivered(db: Db, group: readonly Delivered[]): Promise<readonly boolean[]> {
  let ids: readonly string[]
  try {
    ids = await settleOnce(db, group)
  } catch (error) {
    // a missing day (a clock that jumped, a chore that is late): the day is made, and the statement run once more
    if (sqlState(error) !== '23514') throw error
    await ensureToday(db)
    for (const day of new Set(group.map(({ attempt }) => attempt.startedAt.toISOString().slice(0, 10))))
      await db.rows(sql`select auth.ensure_day('attempts', ${day}::date)`)
    ids = await settleOnce(db, group)
  }
  const settled = new Set(ids)
  return group.map(({ row }) => settled.has(row.id))
}

async function settleOnce(db: Db, group: readonly Delivered[]): Promise<readonly string[]> {
  const text = (pick: (one: Delivered) => string | null) => textArray(group.map(pick))
  const rows = await db.rows<{ id: string }>(
    sql`
    with now as materialized (
      select auth.clock() as at
    ), given as materialized (
      select * from unnest(
        ${text(({ row }) => row.id)}::text[], ${text(({ row }) => row.lease_id)}::text[],
        ${timestampArray(group.map(({ attempt }) => attempt.startedAt))}::timestamptz[],
        ${doubleArray(group.map(({ attempt }) => attempt.durationMs))}::double precision[], ${integerArray(group.map(({ attempt }) => attempt.status))}::int[],
        ${text(({ attempt }) => (attempt.phases === undefined ? null : JSON.stringify(attempt.phases)))}::text[],
        ${byteaArray(group.map(({ attempt }) => (attempt.responseHeaders === undefined ? null : Buffer.from(JSON.stringify(attempt.responseHeaders)))))}::bytea[],
        ${byteaArray(group.map(({ attempt }) => attempt.responseBody ?? null))}::bytea[])
        as g (id, lease_id, started_at, duration_ms, status, phases, response_headers, response_body)
    ), held as materialized (
      select d.id from auth.deliveries d join given g on g.id = d.id and g.lease_id::uuid = d.lease_id
       where d.id = any(${text(({ row }) => row.id)}::text[])
       order by d.id for update of d
    ), settled as (
      delete from auth.deliveries d where d.id = any(array(select id from held))
      returning d.id, d.event_id, d.event_recorded_at, d.destination_id, d.rule_id, d.attempts, d.created_at
    ), tried as (
      insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome, status, error,
                                 phases, response_headers, response_body)
      select s.id, s.event_id, s.destination_id, s.attempts + 1, g.started_at, g.duration_ms, 'delivered', g.status, null,
             g.phases::jsonb, g.response_headers, g.response_body
        from settled s join given g on g.id = s.id
    )
    insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, attempts, created_at, finished_at)
    select id, event_id, event_recorded_at, destination_id, rule_id, 'delivered', attempts + 1, created_at, now.at
      from settled, now
    returning id`,
    'settle-delivered',
  )
  return rows.map(({ id }) => id)
}
