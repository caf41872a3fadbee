/**
 * Everything that the service holds of one user, and its deletion in steps of bounded size. What grows is found by its
 * own index; days that are dropped meanwhile are simply gone. `auth.users` belongs to the platform and is left alone.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

export interface Receipt {
  readonly id: string
  readonly reason: 'requested' | 'vanished'
  readonly requested_at: Date
  readonly finished_at: Date | null
  readonly counts: Readonly<Record<string, number>>
  /** Connections that are still being ended at their provider. */
  readonly revoking: number
}

/** @returns whether it is new; the same user has one receipt */
export async function insertErasure(
  tx: Db,
  erasure: { id: string; ownerHash: Buffer; ownerId: string; reason: 'requested' | 'vanished' },
): Promise<boolean> {
  const rows = await tx.rows(sql`
    insert into auth.erasures (id, owner_hash, owner_id, reason)
    values (${erasure.id}, ${erasure.ownerHash}, ${erasure.ownerId}, ${erasure.reason})
    on conflict (owner_hash) do update
      set owner_id = excluded.owner_id, reason = excluded.reason, requested_at = auth.clock(), finished_at = null,
          due_at = auth.clock(), lease_until = null, lease_id = null, claims = 0
      where auth.erasures.finished_at is not null
        and exists (select from auth.oauth_tokens where owner_id = excluded.owner_id)
    returning id`)
  return rows.length === 1
}

export const findReceipt = (db: Db, ownerHash: Buffer) =>
  db.one<Receipt>(sql`
    select e.id, e.reason, e.requested_at, e.finished_at, e.counts,
           (select count(*)::int from auth.oauth_tokens c where c.owner_id = e.owner_id and c.status = 'revoking') as revoking
      from auth.erasures e where e.owner_hash = ${ownerHash}`)

export const findErasure = (db: Db, due: DueRow) =>
  db.one<{ id: string; owner_id: string }>(sql`
    select id, owner_id from auth.erasures
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid and owner_id is not null`)

export const connectionsOfOwner = (db: Db, ownerId: string) =>
  db.rows<{ id: string; status: string }>(sql`
    select id, status from auth.oauth_tokens where owner_id = ${ownerId} order by id`)

/** Sessions, links and flows, and how many they were: at once, in the transaction that begins the erasure. */
export async function endPresence(tx: Db, ownerId: string): Promise<number> {
  const ended = [
    await tx.rows(sql`delete from auth.sessions where user_id::text = ${ownerId} returning 1`),
    await tx.rows(sql`delete from auth.signin_links where user_id::text = ${ownerId} returning 1`),
    await tx.rows(sql`delete from auth.oauth_states where owner_id = ${ownerId} returning 1`),
    await tx.rows(sql`delete from auth.admin_consents where owner_id = ${ownerId} returning 1`),
  ]
  return ended.reduce((sum, rows) => sum + rows.length, 0)
}

const STEP = 500

/**
 * One step: some events with their deliveries, attempts and notifications. A notification that speaks of others too
 * loses its bytes and stays as a mark that it came.
 * @returns how many rows went, by kind; all zero: nothing is left
 */
export async function deleteSomeEvents(tx: Db, ownerId: string): Promise<Record<string, number>> {
  const row = await tx.one<Record<string, number>>(sql`
    with gone as materialized (
      select id, recorded_at, notification_id from auth.events
       where owner_id = ${ownerId} order by recorded_at limit ${STEP}
    ), deliveries as (
      delete from auth.deliveries d using gone g
       where d.event_recorded_at = g.recorded_at and d.event_id = g.id returning d.id
    ), outcomes as (
      delete from auth.delivery_outcomes o using gone g
       where o.event_recorded_at = g.recorded_at and o.event_id = g.id returning o.id
    ), attempts as (
      delete from auth.attempts a
       where a.delivery_id in (select id from deliveries union all select id from outcomes) returning 1
    ), shared as materialized (
      select distinct n.id, n.received_at from gone g
        join auth.notifications n on n.id = g.notification_id
         and n.received_at between g.recorded_at - interval '1 day' and g.recorded_at + interval '1 day'
       where exists (select from auth.events o
                      where o.notification_id = n.id and o.owner_id is distinct from ${ownerId}
                        and o.recorded_at between n.received_at - interval '1 day' and n.received_at + interval '1 day')
    ), blanked as (
      update auth.notifications n set body = '', headers = '{}', ref = null from shared s
       where n.id = s.id and n.received_at = s.received_at returning 1
    ), notifications as (
      delete from auth.notifications n using gone g
       where n.id = g.notification_id
         and n.received_at between g.recorded_at - interval '1 day' and g.recorded_at + interval '1 day'
         and n.id not in (select id from shared) returning 1
    ), events as (
      delete from auth.events e using gone g where e.id = g.id and e.recorded_at = g.recorded_at returning 1
    )
    select (select count(*)::int from events) as events, (select count(*)::int from deliveries) as deliveries,
           (select count(*)::int from outcomes) as outcomes, (select count(*)::int from attempts) as attempts,
           (select count(*)::int from notifications) + (select count(*)::int from blanked) as notifications`)
  return row ?? {}
}

export interface DeletedConnections {
  readonly connections: readonly { readonly id: string; readonly provider: string }[]
  readonly dedupeKeys: number
}

/** What is left once nothing is due at a provider: the connections and what names them. */
export async function deleteConnections(tx: Db, ownerId: string): Promise<DeletedConnections> {
  const row = await tx.one<{ ids: string[] | null; providers: string[] | null; keys: number }>(sql`
    with gone as materialized (
      select id, provider, account_key from auth.oauth_tokens where owner_id = ${ownerId} and status = 'revoked'
    ), keys as (
      delete from auth.event_keys k using gone g where k.scope = g.id returning 1
    ), signals as (
      delete from auth.account_signals s using gone g
       where s.provider = g.provider and s.account_key = g.account_key
         and not exists (select from auth.oauth_tokens o
                          where o.provider = g.provider and o.account_key = g.account_key and o.owner_id <> ${ownerId})
      returning 1
    ), connections as (
      delete from auth.oauth_tokens c using gone g where c.id = g.id returning c.id, c.provider
    )
    select array_agg(id order by id) as ids, array_agg(provider order by id) as providers,
           (select count(*)::int from keys) as keys
      from connections`)
  const providers = row?.providers ?? []
  return {
    connections: (row?.ids ?? []).map((id, i) => ({ id, provider: providers[i] ?? '' })),
    dedupeKeys: row?.keys ?? 0,
  }
}

/** What was done stays on record; who it was does not. */
export async function forgetInAudit(tx: Db, ownerId: string): Promise<void> {
  await tx.rows(sql`update auth.audit set actor = 'user:erased' where actor = ${`user:${ownerId}`}`)
  await tx.rows(sql`
    update auth.audit set detail = detail - 'owner' where detail ->> 'owner' = ${ownerId}`)
}

/** Adds to the counts. @returns false: lease lost */
export async function addCounts(tx: Db, due: DueRow, counts: Record<string, number>): Promise<boolean> {
  const rows = await tx.rows(sql`
    update auth.erasures
       set counts = (select coalesce(jsonb_object_agg(key, sum), '{}')
                       from (select key, sum(value::int) as sum
                               from (select * from jsonb_each_text(counts)
                                     union all select * from jsonb_each_text(${JSON.stringify(counts)}::jsonb)) both_counts (key, value)
                              group by key) summed)
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid returning id`)
  return rows.length === 1
}

/** @param seconds until it is looked at again; null: finished, and the owner's id goes */
export async function settleErasure(tx: Db, due: DueRow, seconds: number | null): Promise<boolean> {
  const rows = await tx.rows(sql`
    update auth.erasures
       set due_at = case when ${seconds}::int is not null then auth.clock() + make_interval(secs => ${seconds}::int) end,
           finished_at = case when ${seconds}::int is null then auth.clock() end,
           owner_id = case when ${seconds}::int is not null then owner_id end,
           lease_until = null, lease_id = null, claims = 0
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid returning id`)
  return rows.length === 1
}

/** Owners of connections whose user is gone from `auth.users`, and who are not being erased yet. */
export const findVanished = (db: Db) =>
  db.rows<{ owner_id: string }>(sql`
    select distinct c.owner_id from auth.oauth_tokens c
     where c.user_id is null
       and not exists (select from auth.erasures e where e.owner_id = c.owner_id)
     limit 100`)
