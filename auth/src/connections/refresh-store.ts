/**
 * The due rows `auth.refreshes`: when a connection is refreshed next, and who holds the one lease of doing it. A worker
 * claims rows that are due; a reader that cannot wait takes the lease of one row. Never reads a plain token.
 */
import type { Database, Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { Lease } from '../work/work.ts'
import { DOWN_AFTER, pace, type TakenTurn } from './refresh-pace-store.ts'
import type { ConnectionStatus } from './transition.ts'

export interface ClaimedRefresh extends TakenTurn {
  readonly id: string
  readonly provider: string
  readonly lease_id: string
  readonly claims: number
}

/** A due row as held by whoever refreshes. */
export interface RefreshLease {
  readonly id: string
  readonly lease_id: string
}

/**
 * Puts the row in order for tokens that were just written: due when between 20 % and 35 % of their lifetime are left,
 * evenly spread (not within 30 s: an answer without lifetime must not become a loop). Without a refresh token there is
 * nothing to do before the expiry. An earlier lease ends: its holder works from older tokens.
 */
export const scheduleRefresh = (
  tx: Db,
  row: { id: string; provider: string; expiresAt: Date; hasRefreshToken: boolean },
) =>
  tx.rows(sql`
    insert into auth.refreshes (id, provider, due_at)
    values (${row.id}, ${row.provider}, greatest(auth.clock() + interval '30 seconds',
      ${row.expiresAt}::timestamptz - case when ${row.hasRefreshToken}::boolean
        then (${row.expiresAt}::timestamptz - auth.clock()) * (0.2 + 0.15 * random()) else interval '0' end))
    on conflict (id) do update
       set due_at = excluded.due_at, lease_until = null, lease_id = null, claims = 0, attempts = 0`)

/** Something was said about the account: whether its tokens still work is to be found out now, also after an ending. */
export const refreshNow = (tx: Db, connectionId: string) =>
  tx.rows(sql`
    insert into auth.refreshes (id, provider, due_at)
    select o.id, o.provider, auth.clock() from auth.oauth_tokens o
     where o.id = ${connectionId} and o.refresh_token is not null and ${refreshable}
    on conflict (id) do update set due_at = auth.clock(), attempts = 0
      where auth.refreshes.lease_until is null or auth.refreshes.lease_until <= auth.clock()`)

/** For a connection that no refresh can help. */
export const unscheduleRefresh = (tx: Db, connectionId: string) =>
  tx.rows(sql`delete from auth.refreshes where id = ${connectionId}`)

/** As far ahead as workers take turns: whoever comes after them, a reader, waits no longer than this for its own. */
const AHEAD_SECONDS = 0.25

/**
 * Takes due rows, each with a turn to begin. Two statements in one transaction: the second needs a snapshot taken after
 * the locks of the first, or it would hand out turns that another process has taken.
 * @param room how many rows of each provider may be claimed
 */
export const claimRefreshes = (
  db: Database,
  lease: Lease,
  room: { readonly providers: readonly string[]; readonly limits: readonly number[] },
) =>
  db.transaction(async (tx) => {
    const open = await tx.rows<{ provider: string }>(sql`
      select p.provider from auth.refresh_pace p
       where p.provider = any(${room.providers}::text[]) and ${pace.heldSeconds} = 0
         and ${pace.freeAt} < auth.clock() + make_interval(secs => ${AHEAD_SECONDS})
         and exists (select from auth.refreshes r
                      where r.provider = p.provider and r.due_at <= auth.clock()
                        and (r.lease_until is null or r.lease_until < auth.clock()))
       order by p.provider for update of p`)
    const providers = open.map(({ provider }) => provider)
    return providers.length === 0 ? [] : takeDueRefreshes(tx, lease, room, providers)
  })

const takeDueRefreshes = (
  tx: Db,
  lease: Lease,
  room: { readonly providers: readonly string[]; readonly limits: readonly number[] },
  locked: readonly string[],
) =>
  tx.rows<ClaimedRefresh>(sql`
    with turns as materialized (
      select p.provider, ${pace.freeAt} free_at, ${pace.step} step, p.failures, ${pace.alarmed} alarmed,
             least(room.most, case when p.failures >= ${DOWN_AFTER}::int then 1 else ceil(
               extract(epoch from auth.clock() + make_interval(secs => ${AHEAD_SECONDS}) - ${pace.freeAt}) * p.per_second / 1.25)
             end)::int most
        from auth.refresh_pace p
        join unnest(${room.providers}::text[], ${room.limits}::int[]) room (provider, most) using (provider)
       where p.provider = any(${locked}::text[])
    ), due as materialized (
      select d.id, t.provider, t.failures, t.alarmed, t.step,
             t.free_at + t.step * (row_number() over (partition by t.provider order by d.due_at, d.id) - 1) starts_at
        from turns t
       cross join lateral (
         select id, due_at from auth.refreshes
          where provider = t.provider and due_at <= auth.clock() and (lease_until is null or lease_until < auth.clock())
          order by due_at limit t.most for update skip locked) d
    ), paced as (
      update auth.refresh_pace p
         set next_at = taken.last + taken.step, held_until = ${pace.heldAfter}
        from (select provider, max(starts_at) as last, max(step) as step from due group by provider) taken
       where p.provider = taken.provider
    )
    update auth.refreshes r
       set lease_until = auth.clock() + make_interval(secs => ${lease.seconds}), lease_id = ${lease.id}, claims = r.claims + 1
      from due where r.id = due.id
    returning r.id, r.provider, r.lease_id, r.claims,
              extract(epoch from due.starts_at - auth.clock())::float8 in_seconds, due.failures, due.alarmed`)

/**
 * Takes the lease of one connection for a reader: if nobody holds it, the tokens are those that the reader saw, and the
 * row is not waiting after a failure. @returns whether it was taken
 */
export const takeRefresh = async (
  db: Db,
  wanted: { id: string; version: number; leaseId: string; seconds: number },
): Promise<boolean> =>
  (
    await db.rows(sql`
      insert into auth.refreshes as r (id, provider, due_at, lease_until, lease_id, claims)
      select id, provider, auth.clock(), auth.clock() + make_interval(secs => ${wanted.seconds}), ${wanted.leaseId}::uuid, 1
        from auth.oauth_tokens
       where id = ${wanted.id} and version = ${wanted.version} and status in ('active', 'partial')
      on conflict (id) do update
         set lease_until = excluded.lease_until, lease_id = excluded.lease_id, claims = r.claims + 1
       where (r.lease_until is null or r.lease_until < auth.clock())
         and not (r.attempts > 0 and r.due_at > auth.clock())
      returning r.id`)
  ).length === 1

export interface RefreshState {
  readonly version: number
  readonly status: ConnectionStatus
  /** Seconds that the lease still runs; 0 when nobody holds it. */
  readonly leased_seconds: number
  /** Seconds until the next try after a failure; 0 when there is nothing to wait for. */
  readonly waiting_seconds: number
}

export const findRefreshState = (db: Db, connectionId: string) =>
  db.one<RefreshState>(sql`
    select o.version, o.status,
           greatest(0, coalesce(extract(epoch from r.lease_until - auth.clock()), 0))::float8 leased_seconds,
           case when r.attempts > 0 then greatest(0, extract(epoch from r.due_at - auth.clock())) else 0 end::float8
             waiting_seconds
      from auth.oauth_tokens o left join auth.refreshes r on r.id = o.id where o.id = ${connectionId}`)

export interface TokensToRefresh {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly status: ConnectionStatus
  readonly data_key: string | null
  readonly refresh_token: string | null
  readonly expires_at: Date | null
  readonly scope: string
  readonly version: number
  readonly attempts: number
  /** Seconds that the access token still lives; 0 or less when it is over. */
  readonly left_seconds: number
}

/** Also an account that its provider had disabled: enabled again, its tokens may work again. */
const refreshable = sql`(o.status in ('active', 'partial', 'admin_required')
  or (o.status = 'reauth_required' and coalesce(o.status_reason, '') in ('account_disabled', 'account_hijacked')))`

/** @returns undefined when the lease is lost, or the connection has ended */
export const findToRefresh = (db: Db, lease: RefreshLease) =>
  db.one<TokensToRefresh>(sql`
    select o.id, o.owner_id, o.provider, o.status, o.data_key, o.refresh_token, o.expires_at, o.scope, o.version,
           r.attempts, coalesce(extract(epoch from o.expires_at - auth.clock()), 0)::float8 left_seconds
      from auth.refreshes r join auth.oauth_tokens o on o.id = r.id
     where r.id = ${lease.id} and r.lease_id = ${lease.lease_id}::uuid and r.lease_until > auth.clock() and ${refreshable}`)

/** A reader that looked before the connection ended may have made its row again after it was deleted. */
export const dropEnded = (db: Db, lease: RefreshLease) =>
  db.rows(sql`
    delete from auth.refreshes r using auth.oauth_tokens o
     where r.id = ${lease.id} and r.lease_id = ${lease.lease_id}::uuid and o.id = r.id and not ${refreshable}`)

export const extendRefresh = async (db: Db, lease: RefreshLease, seconds: number): Promise<boolean> =>
  (
    await db.rows(sql`
      update auth.refreshes set lease_until = auth.clock() + make_interval(secs => ${seconds})
       where id = ${lease.id} and lease_id = ${lease.lease_id}::uuid returning id`)
  ).length === 1

/** Tried and failed: again later, and nobody tries before. */
export const deferRefresh = (tx: Db, lease: RefreshLease, inSeconds: number) =>
  tx.rows(sql`
    update auth.refreshes
       set due_at = auth.clock() + make_interval(secs => ${inSeconds}), lease_until = null, lease_id = null, claims = 0,
           attempts = attempts + 1
     where id = ${lease.id} and lease_id = ${lease.lease_id}::uuid`)

/** Left unsettled by a worker: not counted as a claim. @param inSeconds until it is due again; 0 leaves its time */
export const giveBackRefresh = (db: Db, lease: RefreshLease, inSeconds: number) =>
  db.rows(sql`
    update auth.refreshes
       set lease_until = null, lease_id = null, claims = greatest(claims - 1, 0),
           due_at = case when ${inSeconds}::int > 0 then auth.clock() + make_interval(secs => ${inSeconds}::int) else due_at end
     where id = ${lease.id} and lease_id = ${lease.lease_id}::uuid`)

/** Nothing was tried: due as it was. */
export const releaseRefresh = (tx: Db, lease: RefreshLease) =>
  tx.rows(sql`
    update auth.refreshes set lease_until = null, lease_id = null, claims = 0
     where id = ${lease.id} and lease_id = ${lease.lease_id}::uuid`)
