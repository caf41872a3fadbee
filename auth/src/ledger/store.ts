/**
 * The one statement that records: notifications, new events, and a delivery for every matching rule, for many requests
 * at once. It is conditional on the rule revision that was matched with: if rules changed meanwhile it inserts nothing
 * and says so, which costs no rollback. Keys are sorted, or two groups would deadlock on them. Destinations are held, once
 * each, so that a deletion waits for what is being stored for it and cancels that too.
 */
import { byteaArray, textArray, timestampArray } from '../db/binary-array.ts'
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface NotificationRow {
  readonly id: string
  readonly received_at: Date
  readonly provider: string
  readonly ref: string | null
  readonly headers: Buffer
  readonly body: Buffer
  readonly body_sha256: Buffer
}

export interface EventRow {
  readonly id: string
  readonly notification_id: string | null
  readonly connection_id: string | null
  readonly owner_id: string | null
  readonly provider: string | null
  readonly type: string
  readonly origin_type: string | null
  readonly source: string
  readonly subject: string | null
  readonly time: Date | null
  readonly data: Buffer
  /** Dedupe key; a null identity is always new. */
  readonly scope: string
  readonly identity: Buffer | null
}

export interface DeliveryRow {
  readonly id: string
  readonly event_id: string
  readonly destination_id: string
  readonly rule_id: string
}

export interface Recording {
  readonly recordedAt: Date
  readonly notifications: readonly NotificationRow[]
  readonly events: readonly EventRow[]
  readonly deliveries: readonly DeliveryRow[]
}

/** How many events were new. */
export interface NewCount {
  readonly provider: string | null
  readonly type: string
  readonly count: number
}

export interface Recorded {
  /** The revision now; if it is not the one given, nothing was inserted. */
  readonly revision: string
  readonly events: readonly NewCount[]
  readonly deliveries: number
}

const column = <R, K extends keyof R>(rows: readonly R[], key: K): R[K][] => rows.map((row) => row[key])

export async function insertRecording(db: Db, revision: string, r: Recording): Promise<Recorded> {
  const { notifications: n, events: e, deliveries: d } = r
  const eventIds = textArray(column(e, 'id'))
  const identities = byteaArray(column(e, 'identity'))
  const recordedAt = r.recordedAt.toISOString()
  const row = await db.one<{ revision: string; events: NewCount[] | null; deliveries: string }>(
    sql`
    with now as materialized (
      select revision, revision = ${revision}::bigint as is_matched, auth.clock() as at from auth.rule_revision
    ), told as (
      insert into auth.notifications (id, received_at, provider, ref, headers, body, body_sha256)
      select * from unnest(
        ${textArray(column(n, 'id'))}::text[], ${timestampArray(column(n, 'received_at'))}::timestamptz[], ${textArray(column(n, 'provider'))}::text[], ${textArray(column(n, 'ref'))}::text[],
        ${byteaArray(column(n, 'headers'))}::bytea[], ${byteaArray(column(n, 'body'))}::bytea[], ${byteaArray(column(n, 'body_sha256'))}::bytea[])
       where (select is_matched from now)
    ), keyed as (
      insert into auth.event_keys (scope, identity, event_id, recorded_at)
      select scope, identity, id, ${recordedAt}::timestamptz
        from unnest(${eventIds}::text[], ${textArray(column(e, 'scope'))}::text[], ${identities}::bytea[]) as t (id, scope, identity)
       where identity is not null and (select is_matched from now)
       order by scope, identity
      on conflict do nothing
      returning event_id
    ), fresh as materialized (
      select event_id as id from keyed
      union all
      select id from unnest(${eventIds}::text[], ${identities}::bytea[]) as t (id, identity)
       where identity is null and (select is_matched from now)
    ), stored as (
      insert into auth.events (id, recorded_at, notification_id, connection_id, owner_id, provider, type, origin_type, source, subject, time, data)
      select t.id, ${recordedAt}::timestamptz, t.notification_id, t.connection_id,
             coalesce(t.owner_id, (select c.owner_id from auth.oauth_tokens c where c.id = t.connection_id)),
             t.provider, t.type, t.origin_type, t.source, t.subject, t.time, t.data
        from unnest(
          ${eventIds}::text[], ${textArray(column(e, 'notification_id'))}::text[], ${textArray(column(e, 'connection_id'))}::text[],
          ${textArray(column(e, 'owner_id'))}::text[], ${textArray(column(e, 'provider'))}::text[], ${textArray(column(e, 'type'))}::text[], ${textArray(column(e, 'origin_type'))}::text[],
          ${textArray(column(e, 'source'))}::text[], ${textArray(column(e, 'subject'))}::text[], ${timestampArray(column(e, 'time'))}::timestamptz[], ${byteaArray(column(e, 'data'))}::bytea[])
          as t (id, notification_id, connection_id, owner_id, provider, type, origin_type, source, subject, time, data)
       where t.id in (select id from fresh)
      returning provider, type
    ), held as materialized (
      select id from auth.destinations
       where id = any(${textArray([...new Set(column(d, 'destination_id'))])}::text[]) and deleted_at is null
       order by id for key share
    ), sent as (
      insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
      select t.id, t.event_id, ${recordedAt}::timestamptz, t.destination_id, t.rule_id, now.at, now.at
        from now, unnest(
          ${textArray(column(d, 'id'))}::text[], ${textArray(column(d, 'event_id'))}::text[],
          ${textArray(column(d, 'destination_id'))}::text[], ${textArray(column(d, 'rule_id'))}::text[])
          as t (id, event_id, destination_id, rule_id)
       where t.event_id in (select id from fresh) and t.destination_id in (select id from held)
      returning 1
    )
    select revision, (select count(*) from sent) as deliveries,
           (select json_agg(s) from (select provider, type, count(*) as count from stored group by provider, type) s) as events
      from now`,
    'record',
  )
  if (row === undefined)
    throw Object.assign(new Error('the rule revision is missing'), { code: 'no_rule_revision', safe: true })
  return { revision: row.revision, events: row.events ?? [], deliveries: Number(row.deliveries) }
}

/** Makes the day partitions that a clock jump or a late chore left missing. */
export async function ensureDays(db: Db, days: readonly Date[]): Promise<void> {
  for (const day of new Set(days.map((date) => date.toISOString().slice(0, 10)))) {
    await db.rows(sql`select auth.ensure_days(${day}::date, ${day}::date)`)
  }
}
