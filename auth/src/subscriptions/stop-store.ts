/** Subscriptions that are over here and may still live at the provider. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

const left = sql`state = 'stopped' and ended_at_provider is null and provider_subscription_id is not null and expires_at > auth.clock()`

export interface LeftAtProvider {
  readonly id: string
  readonly resource: string
  readonly provider_subscription_id: string
}

/** Of a connection that ends: its own, and what waits to be stopped besides. */
export const findToStop = (db: Db, connectionId: string) =>
  db.rows<LeftAtProvider>(sql`
    select id, resource, provider_subscription_id from auth.subscriptions
     where connection_id = ${connectionId} and ${left}
    union all
    select id, resource, provider_subscription_id from auth.subscription_stops
     where connection_id = ${connectionId} and expires_at > auth.clock()
     order by id`)

export async function hasSubscriptionsToStop(db: Db, connectionId: string): Promise<boolean> {
  const row = await db.one(sql`
    select 1 from auth.subscriptions where connection_id = ${connectionId} and ${left}
    union all
    select 1 from auth.subscription_stops where connection_id = ${connectionId} and expires_at > auth.clock() limit 1`)
  return row !== undefined
}

export const markEnded = (db: Db, id: string) =>
  db.rows(sql`
    with stop as (delete from auth.subscription_stops where id = ${id})
    update auth.subscriptions set ended_at_provider = auth.clock() where id = ${id}`)

export interface NewStop {
  readonly connectionId: string
  readonly provider: string
  readonly resource: string
  readonly providerSubscriptionId: string
  readonly expiresAt: Date
}

/** To be stopped, from now on until it expires. Said twice is said once. */
export const insertStop = (tx: Db, stop: NewStop) =>
  tx.rows(sql`
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    values (${stop.connectionId}, ${stop.provider}, ${stop.resource}, ${stop.providerSubscriptionId}, ${stop.expiresAt})
    on conflict (connection_id, provider_subscription_id) do nothing`)

/** Those of a living connection that were just stopped here, and still live there. */
export const insertStopsOf = (tx: Db, stopped: readonly { readonly id: string }[]) =>
  tx.rows(sql`
    with over as (
      update auth.subscriptions set ended_at_provider = auth.clock()
       where id = any(${stopped.map(({ id }) => id)}::text[]) and ${left}
      returning connection_id, provider, resource, provider_subscription_id, expires_at
    )
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    select * from over on conflict (connection_id, provider_subscription_id) do nothing`)

/** Those that are about to be made anew, and may live on at the provider beside their new one. @param kinds with all that they found */
export const insertStopsOfRenewedGrant = (tx: Db, connectionId: string, kinds: readonly string[]) =>
  tx.rows(sql`
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    select connection_id, provider, resource, provider_subscription_id, expires_at from auth.subscriptions
     where connection_id = ${connectionId} and state = 'active' and provider_subscription_id is not null
       and expires_at > auth.clock() and split_part(kind, ':', 1) = any(${[...kinds]}::text[])
    on conflict (connection_id, provider_subscription_id) do nothing`)

export interface StopRow extends LeftAtProvider {
  readonly connection_id: string
  readonly provider: string
  readonly attempts: number
  readonly expired: boolean
  /** The same resource of the same account is watched, by this or another connection. */
  readonly watched: boolean
}

export const findStop = (db: Db, due: DueRow) =>
  db.one<StopRow>(sql`
    select p.id, p.connection_id, p.provider, p.resource, p.provider_subscription_id, p.attempts,
           p.expires_at <= auth.clock() as expired,
           exists (select from auth.subscriptions s join auth.oauth_tokens o on o.id = s.connection_id
                    where o.provider = c.provider and o.account_key = c.account_key and s.resource = p.resource
                      and s.state in ('wanted', 'active')) as watched
      from auth.subscription_stops p join auth.oauth_tokens c on c.id = p.connection_id
     where p.id = ${due.id} and p.lease_id = ${due.lease_id}`)

export const finishStop = (db: Db, due: DueRow) =>
  db.rows(sql`delete from auth.subscription_stops where id = ${due.id} and lease_id = ${due.lease_id}`)

export const deferStop = (db: Db, due: DueRow, seconds: number) =>
  db.rows(sql`
    update auth.subscription_stops
       set due_at = auth.clock() + make_interval(secs => ${seconds}), lease_until = null, lease_id = null, claims = 0,
           attempts = attempts + 1
     where id = ${due.id} and lease_id = ${due.lease_id}`)

/** An orphan's own end is not known: nothing lives longer at any provider. */
const LONGEST = sql`interval '31 days'`

/**
 * Of these, given as pairs of our id (from its `ref`) and the provider's, those that belong to nobody: the row has another
 * one by now, or is over. A row whose create call is on the way may be about to own it: left alone.
 * @returns those that were not known to be stopped
 */
export const insertStopsOfOrphans = (
  db: Db,
  pairs: readonly { readonly subscriptionId: string; readonly providerSubscriptionId: string }[],
) =>
  db.rows<{ connection_id: string; provider: string }>(sql`
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    select s.connection_id, s.provider, s.resource, p.provider_subscription_id, auth.clock() + ${LONGEST}
      from unnest(${pairs.map((pair) => pair.subscriptionId)}::text[],
                  ${pairs.map((pair) => pair.providerSubscriptionId)}::text[]) p (id, provider_subscription_id)
      join auth.subscriptions s on s.id = p.id
      join auth.oauth_tokens c on c.id = s.connection_id
     where c.status not in ('revoking', 'revoked') and s.state <> 'wanted' and s.next_secret_hash is null
       and not (s.state = 'active' and p.provider_subscription_id = s.provider_subscription_id)
       and (s.previous_provider_subscription_id is null or p.provider_subscription_id <> s.previous_provider_subscription_id)
    on conflict (connection_id, provider_subscription_id) do nothing
    returning connection_id, provider`)

/**
 * Of these pairs, those whose row nobody has: they are of a time that a restored database does not know. Stopped with the
 * connection that found them, whose account they belong to.
 */
export const insertStopsOfUnknown = (
  db: Db,
  finder: { readonly connectionId: string; readonly resource: string },
  pairs: readonly { readonly subscriptionId: string; readonly providerSubscriptionId: string }[],
) =>
  db.rows<{ connection_id: string; provider: string }>(sql`
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    select c.id, c.provider, ${finder.resource}, p.provider_subscription_id, auth.clock() + ${LONGEST}
      from unnest(${pairs.map((pair) => pair.subscriptionId)}::text[],
                  ${pairs.map((pair) => pair.providerSubscriptionId)}::text[]) p (id, provider_subscription_id)
      join auth.oauth_tokens c on c.id = ${finder.connectionId} and c.status not in ('revoking', 'revoked')
     where not exists (select from auth.subscriptions s where s.id = p.id)
    on conflict (connection_id, provider_subscription_id) do nothing
    returning connection_id, provider`)

/**
 * The same for one that told of itself: who watches the same resource may be who can stop it, so each of them tries.
 * @param idsEnd how the provider's ids of that resource end
 */
export const insertStopsBesideSiblings = (
  db: Db,
  orphan: { readonly subscriptionId: string; readonly providerSubscriptionId: string },
  idsEnd: string,
) =>
  db.rows<{ connection_id: string; provider: string }>(sql`
    insert into auth.subscription_stops (connection_id, provider, resource, provider_subscription_id, expires_at)
    select distinct on (s.connection_id) s.connection_id, s.provider, s.resource, ${orphan.providerSubscriptionId}, auth.clock() + ${LONGEST}
      from auth.subscriptions s join auth.oauth_tokens c on c.id = s.connection_id and c.status not in ('revoking', 'revoked')
     where s.state = 'active' and right(s.provider_subscription_id, length(${idsEnd})) = ${idsEnd}
       and s.provider_subscription_id <> ${orphan.providerSubscriptionId}
       and not exists (select from auth.subscriptions k where k.id = ${orphan.subscriptionId})
    on conflict (connection_id, provider_subscription_id) do nothing
    returning connection_id, provider`)

/** Of these ids of ours, those that no row has. */
export async function findUnknown(db: Db, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db.rows<{ id: string }>(sql`
    select i.id from unnest(${[...ids]}::text[]) i (id)
     where not exists (select from auth.subscriptions s where s.id = i.id)`)
  return new Set(rows.map(({ id }) => id))
}
