/**
 * Deliveries with their attempts, wherever they stand: open and dead ones in the hot table, finished ones in
 * delivery_outcomes. Both are read by one statement, so that a delivery that is being settled is seen exactly once.
 */
import type { Db, Sql } from '../db/sql.ts'
import { empty, sql } from '../db/sql.ts'
import { timeOfId } from '../platform/ids.ts'
import { type Waiting, waitingOf, waitsUntil } from './waiting-store.ts'

export interface AttemptHistory {
  readonly number: number
  readonly started_at: string
  readonly duration_ms: number
  readonly outcome: 'delivered' | 'failed'
  readonly status: number | null
  readonly error: string | null
}

/** What one attempt met, for administrators: a receiver's answer can tell of its inside. */
export interface AttemptDetail extends AttemptHistory {
  /** Milliseconds of each phase that was reached. */
  readonly phases: Readonly<Record<string, number>> | null
  readonly response_headers: Readonly<Record<string, string | readonly string[]>> | null
  /** At most 4 KiB, redacted, as text: never parsed into markup. */
  readonly response_body: string | null
}

/** Of an open one: why it does not go now, and until when; all null of one that ended. */
export interface Waits {
  readonly waiting: Waiting | null
  /** Until when the receiver asked to be left alone. */
  readonly held_until: string | null
  /** When an open breaker lets the next single delivery go. */
  readonly probe_at: string | null
}

export interface DeliveryDetail extends Omit<DeliveryHistory, 'attempts'> {
  readonly event_id: string
  /** False: its day has been dropped, and only the delivery is left to be seen. */
  readonly event_kept: boolean
  readonly attempts: readonly (AttemptHistory | AttemptDetail)[]
}

export interface DeliveryHistory extends Waits {
  readonly id: string
  readonly destination_id: string
  readonly destination_name: string
  readonly state: 'open' | 'delivered' | 'dead' | 'cancelled' | 'expired'
  readonly reason: string | null
  readonly due_at: string | null
  readonly finished_at: string | null
  readonly attempts: readonly AttemptHistory[]
}

interface DeliveryRow {
  readonly id: string
  readonly event_id: string
  readonly event_kept: boolean
  readonly destination_id: string
  readonly destination_name: string
  readonly state: DeliveryHistory['state']
  readonly reason: string | null
  readonly due_at: Date | null
  readonly finished_at: Date | null
  readonly created_at: Date
  readonly waiting: Waiting | null
  readonly held_until: Date | null
  readonly probe_at: Date | null
}

interface AttemptRow extends Omit<AttemptHistory, 'started_at'> {
  readonly delivery_id: string
  readonly started_at: Date
}

/**
 * A condition on `w`, for both tables: the delivery of that id. The id begins with the time at which its event was
 * recorded, and outcomes have an index of that; one without a time (made before 0600) is looked for in all of them.
 */
export function isDelivery(id: string): Sql {
  const at = timeOfId(id)
  return sql`w.id = ${id} ${at === undefined ? empty : sql`and w.event_recorded_at >= ${at} and w.event_recorded_at < ${at}::timestamptz + interval '1 ms'`}`
}

export interface FoundDelivery {
  readonly eventId: string
  readonly eventKept: boolean
  readonly delivery: DeliveryHistory
}

/**
 * @param which a condition on `w`, the delivery
 * @param visible a condition on `e`, its event: who owns an event that is gone is not known, so nobody who needs the
 *   condition sees its deliveries. Undefined: the reader sees all of them, also those without an event.
 */
export async function readDeliveries(db: Db, which: Sql, visible: Sql | undefined): Promise<FoundDelivery[]> {
  const event = sql`select from auth.events e where e.recorded_at = w.event_recorded_at and e.id = w.event_id`
  const rows = await db.rows<DeliveryRow>(sql`
    with moment as materialized (select auth.clock() as now)
    select w.id, w.event_id, w.destination_id, d.name as destination_name, w.state, w.reason, w.due_at, w.finished_at, w.created_at,
           exists (${event}) as event_kept, ${waitingOf(sql`w.due_at`)} as waiting, ${waitsUntil}
      from (select id, event_id, event_recorded_at, destination_id, state, reason, due_at, lease_until, null::timestamptz as finished_at, created_at
              from auth.deliveries w where ${which}
            union all
            select id, event_id, event_recorded_at, destination_id, state, reason, null, null, finished_at, created_at
              from auth.delivery_outcomes w where ${which}) w
      join auth.destinations d on d.id = w.destination_id
     cross join moment
     where ${visible === undefined ? sql`true` : sql`exists (${event} and ${visible})`}
     order by w.created_at, w.id`)
  const attempts = await readAttempts(db, rows)
  return rows.map((row) => ({
    eventId: row.event_id,
    eventKept: row.event_kept,
    delivery: {
      id: row.id,
      destination_id: row.destination_id,
      destination_name: row.destination_name,
      state: row.state,
      reason: row.reason,
      due_at: row.due_at?.toISOString() ?? null,
      finished_at: row.finished_at?.toISOString() ?? null,
      waiting: row.waiting,
      held_until: row.held_until?.toISOString() ?? null,
      probe_at: row.probe_at?.toISOString() ?? null,
      attempts: attempts.get(row.id) ?? [],
    },
  }))
}

export async function readAttemptDetails(db: Db, deliveryId: string): Promise<AttemptDetail[]> {
  const rows = await db.rows<
    Omit<AttemptDetail, 'started_at' | 'response_headers' | 'response_body'> & {
      started_at: Date
      response_headers: Buffer | null
      response_body: Buffer | null
    }
  >(sql`
    select number, started_at, duration_ms, outcome, status, error, phases, response_headers, response_body
      from auth.attempts where delivery_id = ${deliveryId}
     order by number, started_at`)
  return rows.map((row) => ({
    ...row,
    started_at: row.started_at.toISOString(),
    response_headers:
      row.response_headers &&
      (JSON.parse(row.response_headers.toString()) as AttemptDetail['response_headers']),
    response_body: row.response_body?.toString('utf8') ?? null,
  }))
}

async function readAttempts(
  db: Db,
  deliveries: readonly DeliveryRow[],
): Promise<Map<string, AttemptHistory[]>> {
  const byDelivery = new Map<string, AttemptHistory[]>()
  if (deliveries.length === 0) return byDelivery
  const rows = await db.rows<AttemptRow>(sql`
    select delivery_id, number, started_at, duration_ms, outcome, status, error
      from auth.attempts where delivery_id = any(${deliveries.map((row) => row.id)}::text[])
     order by delivery_id, number, started_at`)
  for (const { delivery_id, started_at, ...attempt } of rows) {
    const list = byDelivery.get(delivery_id) ?? []
    list.push({ ...attempt, started_at: started_at.toISOString() })
    byDelivery.set(delivery_id, list)
  }
  return byDelivery
}
