/**
 * What an attempt sends and where to, read anew for each one: a changed URL counts from the next attempt on. What was
 * claimed together is read together, each destination once. Reads only.
 */
import { textArray, timestampArray } from '../db/binary-array.ts'
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { attemptColumns, type SealedForAttempt } from './destination-store.ts'
import type { DeliveryRow } from './store.ts'

export interface Sending {
  readonly destination: SendingDestination
  /** Null when the event's day has been dropped. */
  readonly data: Buffer | null
  /** The event itself is about a destination. */
  readonly about_destination: boolean
}

export interface SendingDestination extends SealedForAttempt {
  readonly id: string
  readonly name: string
  readonly deleted: boolean
  /** Its breaker is open, or it is known to be failing. */
  readonly unwell: boolean
}

/** @returns in the order of the rows; undefined where the destination's row is gone */
export async function loadSendings(
  db: Db,
  rows: readonly DeliveryRow[],
): Promise<readonly (Sending | undefined)[]> {
  const [destinations, events] = await Promise.all([loadDestinations(db, rows), loadEvents(db, rows)])
  return rows.map((row, n) => {
    const destination = destinations.get(row.destination_id)
    const event = events[n]
    return (
      destination && {
        destination,
        data: event?.data ?? null,
        about_destination: event?.about_destination ?? false,
      }
    )
  })
}

export const loadSending = async (db: Db, row: DeliveryRow): Promise<Sending | undefined> =>
  (await loadSendings(db, [row]))[0]

async function loadDestinations(
  db: Db,
  rows: readonly DeliveryRow[],
): Promise<ReadonlyMap<string, SendingDestination>> {
  const ids = [...new Set(rows.map((row) => row.destination_id))]
  const found = await db.rows<SendingDestination>(
    sql`
    select d.id, d.name, d.deleted_at is not null as deleted, ${attemptColumns},
           d.breaker = 'open' or d.failing_since is not null as unwell
      from auth.destinations d where d.id = any(${textArray(ids)}::text[])`,
    'load-destinations',
  )
  return new Map(found.map((destination) => [destination.id, destination]))
}

interface SendingEvent {
  readonly n: number
  readonly data: Buffer
  readonly about_destination: boolean
}

/**
 * One after the other is looked up by its keys, whatever the planner thinks of the size of the tables; the bounds leave
 * out the days that none of them is of.
 */
async function loadEvents(
  db: Db,
  rows: readonly DeliveryRow[],
): Promise<readonly (SendingEvent | undefined)[]> {
  const times = rows.map((row) => row.event_recorded_at.getTime())
  const found = await db.rows<SendingEvent>(
    sql`
    select r.n::int, e.data, e.type like '%.destination.v1.%' as about_destination
      from unnest(${textArray(rows.map((row) => row.event_id))}::text[], ${timestampArray(rows.map((row) => row.event_recorded_at))}::timestamptz[])
             with ordinality r (event_id, recorded_at, n)
      join lateral (select data, type from auth.events
                     where recorded_at = r.recorded_at and id = r.event_id
                       and recorded_at >= ${new Date(Math.min(...times)).toISOString()}::timestamptz and recorded_at <= ${new Date(Math.max(...times)).toISOString()}::timestamptz
                     limit 1) e on true`,
    'load-events',
  )
  const events: (SendingEvent | undefined)[] = rows.map(() => undefined)
  for (const event of found) events[event.n - 1] = event
  return events
}
