/**
 * Settling: one statement writes the attempt and moves the delivery to its new state, only while the lease is still the
 * settler's own. A stale lease changes nothing and says so. Finished deliveries leave the hot table in that statement.
 * Those that came through are settled together: `delivered-store.ts`.
 */
import type { Db, Sql, Transaction } from '../db/sql.ts'
import { sql, sqlState } from '../db/sql.ts'
import type { DeliveryRow } from './store.ts'

export interface Attempt {
  readonly startedAt: Date
  readonly durationMs: number
  readonly status: number | null
  /** One of our fixed words: `attempt-error.ts`. */
  readonly error: string | null
  /** Milliseconds of each phase that was reached. */
  readonly phases?: Readonly<Record<string, number>> | undefined
  /** Redacted. */
  readonly responseHeaders?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** Redacted, at most 4 KiB. */
  readonly responseBody?: Buffer | undefined
}

/** Why a delivery is given up: its plan is used up, the answer is not one to try again for, its work kills the process. */
export type DeathReason = 'exhausted' | 'rejected' | 'poison'

type Settled = Promise<boolean>

/** @param delayMs from now, by the database's clock @returns false when the lease was no longer ours: the result is dropped */
export function settleDueAgain(db: Db, row: DeliveryRow, attempt: Attempt, delayMs: number): Settled {
  return settle(
    db,
    attempt.startedAt,
    sql`
    with settled as (
      update auth.deliveries
         set due_at = auth.clock() + make_interval(secs => ${delayMs / 1000}),
             lease_until = null, lease_id = null, claims = 0, attempts = attempts + 1
       where id = ${row.id} and lease_id = ${row.lease_id}::uuid
      returning *
    ), tried as (${insertAttempt(attempt)})
    select id from settled`,
  )
}

/** Dead rows keep their place with no due time: outside the claim index, and one update away from a retry. */
export function settleDead(
  tx: Transaction,
  row: DeliveryRow,
  attempt: Attempt,
  reason: Exclude<DeathReason, 'poison'>,
): Settled {
  return settle(
    tx,
    attempt.startedAt,
    sql`
    with settled as (
      update auth.deliveries
         set state = 'dead', reason = ${reason}, due_at = null, dead_at = auth.clock(),
             lease_until = null, lease_id = null, claims = 0, attempts = attempts + 1
       where id = ${row.id} and lease_id = ${row.lease_id}::uuid
      returning *
    ), tried as (${insertAttempt(attempt)})
    select id from settled`,
  )
}

/** No attempt is written: nobody knows how far the crashed ones came. */
export function settlePoison(tx: Transaction, row: DeliveryRow): Settled {
  return settle(
    tx,
    undefined,
    sql`
    update auth.deliveries
       set state = 'dead', reason = 'poison', due_at = null, dead_at = auth.clock(), lease_until = null, lease_id = null, claims = 0
     where id = ${row.id} and lease_id = ${row.lease_id}::uuid
    returning id`,
  )
}

/** Ends a delivery that nothing can be sent for: its destination is deleted, or its event is past retention. */
export function settleUnsent(
  db: Db,
  row: DeliveryRow,
  state: 'cancelled' | 'expired',
  reason: 'destination_deleted' | 'event_gone',
): Settled {
  return settle(
    db,
    undefined,
    sql`
    with settled as (
      delete from auth.deliveries where id = ${row.id} and lease_id = ${row.lease_id}::uuid returning *
    )
    insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, finished_at)
    select id, event_id, event_recorded_at, destination_id, rule_id, ${state}, ${reason}, attempts, created_at, auth.clock()
      from settled
    returning id`,
  )
}

/** The partitions of the database's today. Both functions look first and do nothing when the day is there. */
export async function ensureToday(db: Db): Promise<void> {
  await db.rows(sql`
    select auth.ensure_day(parent, (auth.clock() at time zone 'UTC')::date)
      from unnest(array['attempts', 'delivery_outcomes']) parent`)
}

function insertAttempt(attempt: Attempt): Sql {
  const { phases, responseHeaders, responseBody } = attempt
  return sql`
      insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome, status, error,
                                 phases, response_headers, response_body)
      select id, event_id, destination_id, attempts, ${attempt.startedAt}, ${attempt.durationMs}, 'failed', ${attempt.status}::int, ${attempt.error},
             ${phases === undefined ? null : JSON.stringify(phases)}::jsonb,
             ${responseHeaders === undefined ? null : Buffer.from(JSON.stringify(responseHeaders))}::bytea, ${responseBody ?? null}::bytea
        from settled`
}

/** 23514 is a missing day (a clock that jumped, a chore that is late): the day is made, and the statement run once more. */
async function settle(db: Db | Transaction, startedAt: Date | undefined, statement: Sql): Settled {
  // Inside a transaction the failed statement must not end it.
  const run = () => ('savepoint' in db ? db.savepoint(() => db.rows(statement)) : db.rows(statement))
  try {
    return (await run()).length === 1
  } catch (error) {
    if (sqlState(error) !== '23514') throw error
    await ensureToday(db)
    if (startedAt !== undefined)
      await db.rows(
        sql`select auth.ensure_day('attempts', (${startedAt}::timestamptz at time zone 'UTC')::date)`,
      )
    return (await run()).length === 1
  }
}
