/**
 * Subscriptions and their due rows. Of a channel secret only the hash is stored. Settling is fenced: it changes nothing
 * unless the row's lease is still the worker's own.
 */
import type { Db, Sql } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'
import { dropCertificatesOf } from './certificate-store.ts'

/**
 * A failed or expired one is wanted again; a live one is left as it is, unless the provider's own end of it may have
 * been lost with the old grant (`recreate`). One that waits for its next try waits on, unless there is a new grant
 * (`fresh`). @returns `again` when there is something to do
 */
export const wantAgain = (
  tx: Db,
  wanted: { connectionId: string; kind: string; resource: string; fresh: boolean; recreate: boolean },
) =>
  tx.one<{
    id: string
    again: boolean
    resource: string
    tenant: string | null
    scope: string
    certificate_id: string | null
    renewal_failure_code: string | null
  }>(sql`
    with known as (
      select id, connection_id, certificate_id, renewal_failure_code, state, state = 'active' and expires_at > auth.clock() and not ${wanted.recreate} as lives,
             state = 'wanted' and not ${wanted.fresh} as waits
        from auth.subscriptions
       where connection_id = ${wanted.connectionId} and kind = ${wanted.kind} and state <> 'stopped' for update
    ), written as (
      update auth.subscriptions s
         set state = 'wanted', resource = ${wanted.resource}, failure_code = null, updated_at = auth.clock()
        from known where s.id = known.id and not lives and not waits
    )
    select k.id, not lives and not waits as again, ${wanted.resource}::text as resource, c.tenant, c.scope, k.certificate_id, k.renewal_failure_code
      from known k join auth.oauth_tokens c on c.id = k.connection_id`)

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

/** Ends them on our side. A worker that is creating one loses its lease and drops what it gets. @returns those that lived */
async function stopWhere(tx: Db, connectionId: string, which: Sql) {
  const stopped = await tx.rows<{ id: string }>(sql`
    with stopped as (
      update auth.subscriptions
         set state = 'stopped', channel_secret_hash = null, next_secret_hash = null, previous_secret_hash = null,
             certificate_id = null, updated_at = auth.clock()
       where connection_id = ${connectionId} and state <> 'stopped' and ${which}
      returning id
    ), settled as (
      update auth.subscription_renewals set due_at = null, lease_until = null, lease_id = null, claims = 0, attempts = 0
       where id in (select id from stopped)
    )
    select id from stopped`)
  // nothing that is encrypted to them is ours any more
  if (stopped.length > 0)
    await dropCertificatesOf(
      tx,
      stopped.map(({ id }) => id),
    )
  return stopped
}

export const stopSubscriptions = (tx: Db, connectionId: string) => stopWhere(tx, connectionId, sql`true`)

/**
 * Kinds that are not wanted any more: what still arrives is not ours. One that was discovered goes with its origin, or by
 * its own name among `off`.
 */
export const stopUnwanted = (
  tx: Db,
  connectionId: string,
  wanted: readonly string[],
  off: readonly string[],
) =>
  stopWhere(
    tx,
    connectionId,
    sql`(split_part(kind, ':', 1) <> all(${[...wanted]}::text[]) or kind = any(${[...off]}::text[]))`,
  )

/** Those that were found below `prefix` and are not any more. */
export const stopVanished = (tx: Db, connectionId: string, prefix: string, found: readonly string[]) =>
  stopWhere(tx, connectionId, sql`starts_with(kind, ${prefix}) and kind <> all(${[...found]}::text[])`)

export interface SubscriptionToCreate {
  readonly id: string
  readonly connection_id: string
  readonly owner_id: string
  readonly provider: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly account_label: string
  readonly tenant: string | null
  /** What was granted, separated by spaces. */
  readonly scope: string
  /** What its pushes are encrypted to; null: they have no content. */
  readonly certificate_id: string | null
  readonly attempts: number
  readonly provider_subscription_id: string | null
  readonly channel_key_id: string | null
  readonly life_seconds: number | null
  readonly renewal_failure_code: string | null
  readonly expiring_told: boolean
  readonly expires_at: Date | null
  /** A check found changes that were not pushed. */
  readonly silent_since: Date | null
  /** Until it expires; 0 when that is over, or not known. */
  readonly left_seconds: number
  /** By the database's clock. */
  readonly now: Date
}

export const findToCreate = (db: Db, due: DueRow) =>
  db.one<SubscriptionToCreate>(sql`
    select s.id, s.connection_id, c.owner_id, s.provider, s.kind, s.resource, s.state, c.account_label, c.tenant, c.scope, s.certificate_id, r.attempts,
           s.provider_subscription_id, s.channel_key_id, s.life_seconds, s.renewal_failure_code, s.expiring_told, s.expires_at, s.silent_since,
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
       set channel_secret_hash = ${hash}, channel_key_id = ${channelKeyId}, next_secret_hash = null, provider_subscription_id = null, expires_at = null, updated_at = auth.clock()
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
           cursor = ${row.cursor}, failure_code = null, renewal_failure_code = null, expiring_told = false, silent_since = null, updated_at = auth.clock()
     where id = ${row.id}`)

/** Keeps what is known and says why it does not work yet. */
export const noteFailure = (tx: Db, row: { id: string; state: 'wanted' | 'failed'; code: string }) =>
  tx.rows(sql`
    update auth.subscriptions set state = ${row.state}, failure_code = ${row.code}, updated_at = auth.clock()
     where id = ${row.id} and state <> 'stopped'`)

export interface KnownRow {
  readonly id: string
  readonly connection_id: string
  readonly resource: string
  readonly provider_subscription_id: string | null
  readonly account_key: string
  readonly tenant: string | null
}

/** `wanted` too: its create call may be on the way. A successor has no id yet; a predecessor counts until it expires. */
export const findByChannelHash = (db: Db, provider: string, hash: Buffer) =>
  db.one<KnownRow>(sql`
    select s.id, s.connection_id, s.resource, c.account_key, c.tenant,
           case when s.channel_secret_hash = ${hash} then s.provider_subscription_id
                when s.previous_secret_hash = ${hash} then s.previous_provider_subscription_id end as provider_subscription_id
      from auth.subscriptions s join auth.oauth_tokens c on c.id = s.connection_id
     where (s.channel_secret_hash = ${hash} or s.next_secret_hash = ${hash}
            or (s.previous_secret_hash = ${hash} and s.previous_expires_at > auth.clock()))
       and s.provider = ${provider} and s.state in ('wanted', 'active') and c.status <> 'revoked'`)

export const findByAddress = (db: Db, provider: string, address: string, resource: string) =>
  db.rows<{ id: string; connection_id: string }>(sql`
    select s.id, s.connection_id
      from auth.oauth_tokens c join auth.subscriptions s on s.connection_id = c.id
     where c.provider = ${provider} and c.account_address = ${address} and c.status <> 'revoked' and s.resource = ${resource}
       and s.state in ('wanted', 'active')
     order by s.id`)

/** Ids in order, so that two that touch the same rows never wait for one another. @param times for each id */
export const noteNotified = (db: Db, times: ReadonlyMap<string, Date>) =>
  db.rows(sql`
    update auth.subscriptions s set last_notification_at = touched.at
      from (select o.id, t.at
              from auth.subscriptions o
              join unnest(${[...times.keys()]}::text[], ${[...times.values()]}::timestamptz[]) t (id, at) on t.id = o.id
             where o.last_notification_at is null or o.last_notification_at < t.at
             order by o.id for no key update of o) touched
     where s.id = touched.id`)
