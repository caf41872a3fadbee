/**
 * What the console shows of events and their deliveries. Reads only. Who may see a row is decided in SQL, in one place
 * (`visibleTo`): users see what they own, admins everything. Payloads come out as text and are never parsed.
 */
import { type ConnectionScope, within } from '../db/connection-scope.ts'
import type { Db, Sql } from '../db/sql.ts'
import { empty, sql } from '../db/sql.ts'
import { type Cursor, cursorOf } from './cursor.ts'
import {
  type DeliveryDetail,
  type DeliveryHistory,
  isDelivery,
  readAttemptDetails,
  readDeliveries,
} from './delivery-history-store.ts'

export interface Viewer {
  readonly userId: string
  readonly role: 'user' | 'admin'
}

/** A person, or a service within its scope. */
export type Reader = Viewer | { readonly scope: ConnectionScope }

export interface EventHistory {
  readonly id: string
  readonly type: string
  readonly provider: string | null
  readonly origin_type: string | null
  readonly subject: string | null
  readonly source: string
  readonly connection_id: string | null
  readonly account_label: string | null
  readonly time: string | null
  readonly received_at: string
  readonly recorded_at: string
  readonly deliveries: readonly DeliveryHistory[]
}

export interface EventPage {
  readonly items: readonly EventHistory[]
  /** For the next older page. */
  readonly next_cursor?: string
  /** For `after`, to ask for what is newer than this answer. */
  readonly head_cursor: string
}

export interface EventQuery {
  readonly limit: number
  /** Only what is older. */
  readonly cursor?: Cursor | undefined
  /** Only what is newer. */
  readonly after?: Cursor | undefined
  /** Only this type, without the prefix; with `.*` at its end all that begin so. */
  readonly type?: string | undefined
}

export interface History {
  events(viewer: Reader, query: EventQuery): Promise<EventPage>
  event(viewer: Reader, id: string): Promise<(EventHistory & { readonly payload: string }) | undefined>
  /** With what each attempt met, for administrators. */
  delivery(viewer: Viewer, id: string): Promise<DeliveryDetail | undefined>
  /** Where an event stands in the list. */
  position(viewer: Reader, id: string): Promise<Cursor | undefined>
}

export function openHistory(db: Db): History {
  return {
    events: (viewer, query) => readPage(db, viewer, query),
    async event(viewer, id) {
      const row = await readEvent(db, viewer, id)
      if (row === undefined) return undefined
      const [item] = await withDeliveries(db, [row])
      return item === undefined ? undefined : { ...item, payload: row.data.toString('utf8') }
    },
    async delivery(viewer, id) {
      const all = viewer.role === 'admin'
      const [found] = await readDeliveries(db, isDelivery(id), all ? undefined : visibleTo(viewer))
      if (found === undefined) return undefined
      const { delivery, eventId, eventKept } = found
      const detail = { ...delivery, event_id: eventId, event_kept: eventKept }
      return all ? { ...detail, attempts: await readAttemptDetails(db, id) } : detail
    },
    async position(viewer, id) {
      const row = await readEvent(db, viewer, id)
      return row === undefined ? undefined : { at: row.position, id: row.id }
    },
  }
}

interface EventRow {
  readonly id: string
  readonly type: string
  readonly provider: string | null
  readonly origin_type: string | null
  readonly subject: string | null
  readonly source: string
  readonly connection_id: string | null
  readonly account_label: string | null
  readonly time: Date | null
  readonly received_at: Date
  readonly recorded_at: Date
  /** With microseconds, which a Date would lose: two events of one millisecond would hide each other. */
  readonly position: string
}

const scoped = { id: sql`s.id`, owner: sql`s.owner_id`, provider: sql`s.provider` }

/** An event without owner (a relay's) is not visible to users: null equals nobody. */
function visibleTo(viewer: Reader): Sql {
  if ('scope' in viewer)
    return viewer.scope.kind === 'all'
      ? sql`true`
      : sql`exists (select 1 from auth.oauth_tokens s where s.id = e.connection_id and ${within(viewer.scope, scoped)})`
  return viewer.role === 'admin' ? sql`true` : sql`e.owner_id = ${viewer.userId}`
}

const eventColumns = sql`
  e.id, e.type, e.provider, e.origin_type, e.subject, e.source, e.connection_id, c.account_label, e.time,
  coalesce(n.received_at, e.recorded_at) as received_at, e.recorded_at,
  to_char(e.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as position`

/** The day before bounds the search to two partitions; a notification is stored with its events. */
const eventJoins = sql`
  left join auth.oauth_tokens c on c.id = e.connection_id
  left join lateral (
    select n.received_at from auth.notifications n
     where n.id = e.notification_id and n.received_at between e.recorded_at - interval '1 day' and e.recorded_at + interval '1 day'
     limit 1) n on true`

async function readPage(db: Db, viewer: Reader, query: EventQuery): Promise<EventPage> {
  const head = await readHead(db, query.after)
  const rows = await db.rows<EventRow>(sql`
    select ${eventColumns}
      from (select * from auth.events e
             where ${visibleTo(viewer)} ${older(query.cursor)} ${newer(query.after)} ${ofType(query.type)}
             order by e.recorded_at desc, e.id desc limit ${query.limit + 1}) e
      ${eventJoins}
     order by e.recorded_at desc, e.id desc`)
  const shown = rows.slice(0, query.limit)
  const last = shown.at(-1)
  return {
    items: await withDeliveries(db, shown),
    ...(rows.length > query.limit && last !== undefined
      ? { next_cursor: cursorOf({ at: last.position, id: last.id }) }
      : {}),
    head_cursor: head,
  }
}

const older = (cursor: Cursor | undefined): Sql =>
  cursor === undefined
    ? empty
    : sql`and (e.recorded_at, e.id) < (${cursor.at}::timestamptz, ${cursor.id}::text)`

const newer = (after: Cursor | undefined): Sql =>
  after === undefined ? empty : sql`and (e.recorded_at, e.id) > (${after.at}::timestamptz, ${after.id}::text)`

function ofType(type: string | undefined): Sql {
  if (type === undefined) return empty
  const wanted = `.${type.replace(/\*$/, '')}`
  return type.endsWith('.*')
    ? sql`and position(${wanted}::text in e.type) > 0`
    : sql`and right(e.type, length(${wanted}::text)) = ${wanted}::text`
}

/**
 * Some seconds back: a transaction that began earlier can commit later, and its events would be skipped for ever. So
 * the newest items come again in the next answers, with their deliveries as they are by then; readers key by id. Never
 * behind what the reader already asked from.
 */
async function readHead(db: Db, after: Cursor | undefined): Promise<string> {
  const row = await db.one<{ at: string }>(sql`
    select to_char((auth.clock() - interval '10 seconds') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`)
  const at = row?.at ?? ''
  return cursorOf(after !== undefined && after.at > at ? after : { at, id: '' })
}

function readEvent(db: Db, viewer: Reader, id: string): Promise<(EventRow & { data: Buffer }) | undefined> {
  return db.one<EventRow & { data: Buffer }>(sql`
    select ${eventColumns}, e.data
      from auth.events e ${eventJoins}
     where e.id = ${id} and ${visibleTo(viewer)}
     order by e.recorded_at desc limit 1`)
}

async function withDeliveries(db: Db, rows: readonly EventRow[]): Promise<EventHistory[]> {
  const ids = rows.map((row) => row.id)
  const times = rows.map((row) => row.position)
  // The events were already judged visible.
  const found =
    ids.length === 0
      ? []
      : await readDeliveries(
          db,
          sql`w.event_recorded_at = any(${times}::timestamptz[]) and w.event_id = any(${ids}::text[])`,
          undefined,
        )
  const byEvent = Map.groupBy(found, ({ eventId }) => eventId)
  return rows.map((row) => ({
    id: row.id,
    type: row.type,
    provider: row.provider,
    origin_type: row.origin_type,
    subject: row.subject,
    source: row.source,
    connection_id: row.connection_id,
    account_label: row.account_label,
    time: row.time?.toISOString() ?? null,
    received_at: row.received_at.toISOString(),
    recorded_at: row.recorded_at.toISOString(),
    deliveries: (byEvent.get(row.id) ?? []).map(({ delivery }) => delivery),
  }))
}
