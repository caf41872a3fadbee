/**
 * The list of deliveries, for administrators. Each list is read destination by destination from the front of an index
 * and merged, so that a page costs the same with ten rows and with ten million. Newest first, by what moves a delivery:
 * when it finished, died, or is due. Reads only.
 */
import type { Db, Sql } from '../db/sql.ts'
import { empty, join, sql } from '../db/sql.ts'
import { type Cursor, cursorOf } from './cursor.ts'
import { type Waiting, waitingOf } from './waiting-store.ts'

export const DELIVERY_STATES = [
  'open',
  'delivered',
  'dead',
  'cancelled',
  'expired',
  'paused',
  'throttled',
] as const
/** `paused` and `throttled` are open ones: at a destination that takes nothing now, and due but not yet claimed. */
export type DeliveryState = (typeof DELIVERY_STATES)[number]

export interface DeliveryQuery {
  readonly limit: number
  readonly state?: DeliveryState | undefined
  readonly destinationId?: string | undefined
  readonly eventId?: string | undefined
  /** Of `at`, both inclusive. */
  readonly from?: Date | undefined
  readonly to?: Date | undefined
  readonly cursor?: Cursor | undefined
}

export interface ListedDelivery {
  readonly id: string
  readonly event_id: string
  readonly destination_id: string
  readonly destination_name: string
  readonly rule_id: string
  readonly state: 'open' | 'delivered' | 'dead' | 'cancelled' | 'expired'
  /** Why it died or ended. */
  readonly reason: string | null
  /** Of an open one: why it does not go now. */
  readonly waiting: Waiting | null
  readonly attempts: number
  readonly created_at: string
  /** When it finished, died, or is due. */
  readonly at: string
}

export interface DeliveryPage {
  readonly items: readonly ListedDelivery[]
  readonly next_cursor?: string
}

interface Row extends Omit<ListedDelivery, 'created_at' | 'at'> {
  readonly created_at: Date
  readonly at: Date
  readonly position: string
}

export async function listDeliveries(db: Db, query: DeliveryQuery): Promise<DeliveryPage> {
  const rows = await db.rows<Row>(listing(query))
  const shown = rows.slice(0, query.limit)
  const last = shown.at(-1)
  return {
    items: shown.map(({ position: _, created_at, at, ...row }) => ({
      ...row,
      created_at: created_at.toISOString(),
      at: at.toISOString(),
    })),
    ...(rows.length > query.limit && last !== undefined
      ? { next_cursor: cursorOf({ at: last.position, id: last.id }) }
      : {}),
  }
}

/** The statement alone, so that a test can ask for its plan. */
export function listing(query: DeliveryQuery): Sql {
  const limit = query.limit + 1
  const parts = partsOf(query).map((part) => sql`(${part} limit ${limit})`)
  return sql`
    with moment as materialized (select auth.clock() as now)
    select w.id, w.event_id, d.id as destination_id, d.name as destination_name, w.rule_id, w.state, w.reason, w.attempts,
           w.created_at, w.at, to_char(w.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as position,
           ${waitingOf(sql`w.at`)} as waiting
      from auth.destinations d
     cross join moment
     cross join lateral (${join(parts, ' union all ')}) w
     where true
       ${query.destinationId === undefined ? empty : sql`and d.id = ${query.destinationId}`}
       ${query.state === 'paused' ? sql`and (d.paused or d.disabled_at is not null or d.breaker = 'open')` : empty}
       ${query.state === 'throttled' ? sql`and not d.paused and d.disabled_at is null and d.breaker = 'closed'` : empty}
     order by w.at desc, w.id desc
     limit ${limit}`
}

const columns = sql`w.id, w.event_id, w.rule_id, w.state, w.reason, w.attempts, w.created_at`

/** One for each index that holds what is asked for. */
function partsOf(query: DeliveryQuery): Sql[] {
  const { state } = query
  const open = sql`
    select ${columns}, w.lease_until, w.due_at as at from auth.deliveries w
     where w.destination_id = d.id and w.due_at is not null
       ${state === 'throttled' ? sql`and w.due_at <= moment.now and (w.lease_until is null or w.lease_until <= moment.now)` : empty}
       ${narrowed(query, sql`w.due_at`)}
     order by w.due_at desc, w.id desc`
  const dead = sql`
    select ${columns}, null::timestamptz as lease_until, w.dead_at as at from auth.deliveries w
     where w.destination_id = d.id and w.due_at is null ${narrowed(query, sql`w.dead_at`)}
     order by w.dead_at desc, w.id desc`
  const finished = (condition: Sql) => sql`
    select ${columns}, null::timestamptz as lease_until, w.finished_at as at from auth.delivery_outcomes w
     where w.destination_id = d.id ${condition} ${narrowed(query, sql`w.finished_at`)}
     order by w.finished_at desc, w.id desc`
  switch (state) {
    case undefined:
      return [open, dead, finished(empty)]
    case 'open':
    case 'paused':
    case 'throttled':
      return [open]
    case 'dead':
      return [dead]
    case 'delivered':
    case 'cancelled':
    case 'expired':
      return [finished(sql`and w.state = ${state}`)]
    default:
      return state satisfies never
  }
}

/** The plain bound beside the row comparison lets the planner leave out days. */
function narrowed({ eventId, from, to, cursor }: DeliveryQuery, at: Sql): Sql {
  return sql`
       ${eventId === undefined ? empty : sql`and w.event_id = ${eventId} and w.event_recorded_at = coalesce(${recordedAt(eventId)}, ${recordedOnDroppedDay(eventId)})`}
       ${from === undefined ? empty : sql`and ${at} >= ${from}`}
       ${to === undefined ? empty : sql`and ${at} <= ${to}`}
       ${cursor === undefined ? empty : sql`and ${at} <= ${cursor.at}::timestamptz and (${at}, w.id) < (${cursor.at}::timestamptz, ${cursor.id}::text)`}`
}

const recordedAt = (eventId: string): Sql =>
  sql`(select e.recorded_at from auth.events e where e.id = ${eventId} limit 1)`

/**
 * Of an event that is gone, asked only then: what ended after it tells its time. Looked for among the outcomes of days
 * whose events have been dropped, which are few; a day of events that an open or dead delivery needs is not dropped.
 */
const recordedOnDroppedDay = (eventId: string): Sql => sql`(
           select o.event_recorded_at
             from generate_series(date_trunc('day', (select min(event_recorded_at) from auth.delivery_outcomes), 'UTC'),
                                  auth.clock(), interval '1 day') day,
                  lateral (select event_recorded_at from auth.delivery_outcomes
                            where event_recorded_at >= day and event_recorded_at < day + interval '1 day' and event_id = ${eventId}
                            limit 1) o
            where to_regclass('auth.events_' || to_char(day at time zone 'UTC', 'YYYYMMDD')) is null
            limit 1)`
