/**
 * Subscriptions and their due rows. Of a channel secret only the hash is stored. Settling is fenced: it changes nothing
 * unless the row's lease is still the worker's own.
 */
import type { Db, Sql } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

/**
 * A failed or expired one is wanted again; a live one is left as it is, unless the provider's own end of it may have
 * been lost with the old grant (`recreate`). @returns `again` when there is something to do
 */
export const wantAgain = (
  tx: Db,
  wanted: { connectionId: string; kind: string; resource: string; recreate: boolean },
) =>
  tx.one<{ id: string; again: boolean }>(sql`
    update auth.subscriptions
       set state = case when state = 'active' and expires_at > auth.clock() and not ${wanted.recreate} then 'active' else 'wanted' end,
           resource = case when state = 'active' and expires_at > auth.clock() and not ${wanted.recreate} then resource else ${wanted.resource} end,
           failure_code = null, updated_at = auth.clock()
     where connection_id = ${wanted.connectionId} and kind = ${wanted.kind} and state <> 'stopped'
    returning id, state = 'wanted' again`)

export const insertSubscription = (
  tx: Db,
  row: { id: string; connectionId: string; provider: string; kind: string; resource: string },
) =>
  tx.one<{ id: string }>(sql`
    insert into auth.subscriptions (id, connection_id, provider, kind, resource)
    values (${row.id}, ${row.connectionId}, ${row.provider}, ${row.kind}, ${row.resource})
    on conflict (connection_id, kind) where state <> 'stopped' do nothing
    returning id`)

/** Due now. A worker that holds the row works with the old grant: it loses its lease, and what it finds settles nothing. */
export const makeDue = (tx: Db, id: string) =>
  tx.rows(sql`
    insert into auth.subscription_renewals (id, due_at) values (${id}, auth.clock())
    on conflict (id) do update
      set due_at = auth.clock(), lease_until = null, lease_id = null, attempts = 0, claims = 0`)

/** Ends them on our side. A worker that is creating one loses its lease and drops what it gets. */
export const stopSubscriptions = (tx: Db, connectionId: string) =>
  tx.rows(sql`
    with stopped as (
      update auth.subscriptions set state = 'stopped', channel_secret_hash = null, updated_at = auth.clock()
       where connection_id = ${connectionId} and state <> 'stopped'
      returning id
    )
    update auth.subscription_renewals set due_at = null, lease_until = null, lease_id = null, claims = 0, attempts = 0
     where id in (select id from stopped)`)

/** Kinds that the granted scopes do not carry any more: what still arrives is not ours, and they lapse at the provider. */
export const stopUnwanted = (tx: Db, connectionId: string, wanted: readonly string[]) =>
  tx.rows(sql`
    with stopped as (
      update auth.subscriptions set state = 'stopped', channel_secret_hash = null, updated_at = auth.clock()
       where connection_id = ${connectionId} and state <> 'stopped' and kind <> all(${wanted}::text[])
      returning id
    )
    update auth.subscription_renewals set due_at = null, lease_until = null, lease_id = null, claims = 0, attempts = 0
     where id in (select id from stopped)`)

export interface SubscriptionToCreate {
  readonly id: string
  readonly connection_id: string
  readonly owner_id: string
  readonly provider: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly account_label: string
  readonly attempts: number
  readonly provider_subscription_id: string | null
  readonly channel_key_id: string | null
  readonly life_seconds: number | null
  readonly renewal_failure_code: string | null
  readonly expiring_told: boolean
  /** Until it expires; 0 when that is over, or not known. */
  readonly left_seconds: number
  /** By the database's clock. */
  readonly now: Date
}

export const findToCreate = (db: Db, due: DueRow) =>
  db.one<SubscriptionToCreate>(sql`
    select s.id, s.connection_id, c.owner_id, s.provider, s.kind, s.resource, s.state, c.account_label, r.attempts,
           s.provider_subscription_id, s.channel_key_id, s.life_seconds, s.renewal_failure_code, s.expiring_told,
           greatest(0, coalesce(extract(epoch from s.expires_at - auth.clock()), 0))::float8 as left_seconds, auth.clock() as now
      from auth.subscription_renewals r
      join auth.subscriptions s on s.id = r.id
      join auth.oauth_tokens c on c.id = s.connection_id
     where r.id = ${due.id} and r.lease_id = ${due.lease_id}`)

/**
 * Before the call: a notification may arrive before its answer, so the provider's id of an earlier one is forgotten too,
 * or the new one's items would be taken for somebody else's. Counts the attempt.
 * @param channelKeyId the ring key of the secret and of the ref @returns false: lease lost
 */
export async function storeSecretHash(
  db: Db,
  due: DueRow,
  hash: Buffer,
  channelKeyId: string,
): Promise<boolean> {
  const stored = await db.rows(sql`
    with held as (
      update auth.subscription_renewals set attempts = attempts + 1
       where id = ${due.id} and lease_id = ${due.lease_id}
      returning id
    )
    update auth.subscriptions s
       set channel_secret_hash = ${hash}, channel_key_id = ${channelKeyId}, provider_subscription_id = null, expires_at = null, updated_at = auth.clock()
      from held where s.id = held.id and s.state = 'wanted'
    returning s.id`)
  return stored.length === 1
}

/** Nothing more to do: no due time. @returns false: lease lost */
export async function settle(tx: Db, due: DueRow): Promise<boolean> {
  const settled = await tx.rows(sql`
    update auth.subscription_renewals
       set due_at = null, lease_until = null, lease_id = null, claims = 0, attempts = 0
     where id = ${due.id} and lease_id = ${due.lease_id} returning id`)
  return settled.length === 1
}

/** @returns false: lease lost */
export async function settleUntil(tx: Db, due: DueRow, inSeconds: number): Promise<boolean> {
  const settled = await tx.rows(sql`
    update auth.subscription_renewals
       set due_at = auth.clock() + make_interval(secs => ${inSeconds}), lease_until = null, lease_id = null, claims = 0
     where id = ${due.id} and lease_id = ${due.lease_id} returning id`)
  return settled.length === 1
}

export const activate = (
  tx: Db,
  row: { id: string; providerSubscriptionId: string; expiresAt: Date; cursor: string | null },
) =>
  tx.rows(sql`
    update auth.subscriptions
       set state = 'active', provider_subscription_id = ${row.providerSubscriptionId}, expires_at = ${row.expiresAt},
           life_seconds = extract(epoch from ${row.expiresAt}::timestamptz - auth.clock())::float8, last_renewed_at = auth.clock(),
           cursor = ${row.cursor}, failure_code = null, renewal_failure_code = null, expiring_told = false, updated_at = auth.clock()
     where id = ${row.id}`)

/** Keeps what is known and says why it does not work yet. */
export const noteFailure = (tx: Db, row: { id: string; state: 'wanted' | 'failed'; code: string }) =>
  tx.rows(sql`
    update auth.subscriptions set state = ${row.state}, failure_code = ${row.code}, updated_at = auth.clock()
     where id = ${row.id} and state <> 'stopped'`)

export interface KnownRow {
  readonly id: string
  readonly connection_id: string
  readonly provider_subscription_id: string | null
  readonly account_key: string
  readonly tenant: string | null
}

/** `wanted` too: its create call may be on the way. */
export const findByChannelHash = (db: Db, provider: string, hash: Buffer) =>
  db.one<KnownRow>(sql`
    select s.id, s.connection_id, s.provider_subscription_id, c.account_key, c.tenant
      from auth.subscriptions s join auth.oauth_tokens c on c.id = s.connection_id
     where s.channel_secret_hash = ${hash} and s.provider = ${provider} and s.state in ('wanted', 'active')
       and c.status <> 'revoked'`)

export const findByAddress = (db: Db, provider: string, address: string) =>
  db.rows<{ id: string; connection_id: string }>(sql`
    select s.id, s.connection_id
      from auth.oauth_tokens c join auth.subscriptions s on s.connection_id = c.id
     where c.provider = ${provider} and c.account_address = ${address} and c.status <> 'revoked'
       and s.state in ('wanted', 'active')
     order by s.id`)

/** Ids in order, so that two that touch the same rows never wait for one another. */
export const noteNotified = (db: Db, ids: readonly string[], at: Date) =>
  db.rows(sql`
    update auth.subscriptions s set last_notification_at = ${at}
      from (select id from auth.subscriptions
             where id = any (${[...ids]}::text[])
               and (last_notification_at is null or last_notification_at < ${at}::timestamptz - interval '1 minute')
             order by id for no key update) touched
     where s.id = touched.id`)

export interface SubscriptionRow {
  readonly id: string
  readonly connection_id: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly expires_at: Date | null
  readonly last_notification_at: Date | null
  readonly failure_code: string | null
  readonly last_renewed_at: Date | null
  readonly renews_at: Date | null
  readonly renewal_failure_code: string | null
  readonly gaps: readonly { readonly reason: string; readonly from: string; readonly to: string | null }[]
}

/** The newest of each kind: earlier ones that were stopped are history. */
export const findOfConnections = (db: Db, connectionIds: readonly string[]) =>
  db.rows<SubscriptionRow>(sql`
    select distinct on (connection_id, kind)
           s.id, connection_id, kind, resource, state, expires_at, last_notification_at, failure_code, last_renewed_at,
           case when state = 'active' then r.due_at end as renews_at, renewal_failure_code, g.gaps
      from auth.subscriptions s
      left join auth.subscription_renewals r on r.id = s.id
     cross join lateral (
       select coalesce(jsonb_agg(jsonb_build_object('reason', reason, 'from', ${isoText(sql`from_at`)}, 'to', ${isoText(sql`to_at`)}) order by id desc), '[]') as gaps
         from (select * from auth.subscription_gaps
                where subscription_id = s.id and created_at > auth.clock() - interval '30 days' order by id desc limit 5) newest) g
     where connection_id = any (${[...connectionIds]}::text[])
     order by connection_id, kind, created_at desc, s.id`)

/** As JavaScript writes it. */
function isoText(at: Sql): Sql {
  return sql`to_char(${at} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}
