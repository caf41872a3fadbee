/**
 * Flows in `auth.oauth_states`: every statement that begins, parks, claims or ends one. A flow changes its state only by
 * one conditional update, so of two that race exactly one wins. Hashes and sealed text only; what ends is wiped in the
 * same statement.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface NewFlow {
  readonly id: string
  readonly stateHash: Buffer
  readonly provider: string
  /** Text of auth.users.id; both the reference and the owner for ever. */
  readonly ownerId: string
  readonly sessionBinding: Buffer
  readonly issuer: string
  readonly redirectUri: string
  readonly scopes: string
  readonly dataKey: string
  readonly verifier: string
  readonly nonce: string
  readonly expiresInSeconds: number
  /** The connection that must come back as its account. */
  readonly reconnects: string | null
}

export interface LiveFlow {
  readonly id: string
  readonly provider: string
  readonly owner_id: string
  readonly issuer: string
  readonly data_key: string
}

export interface ClaimedFlow {
  readonly id: string
  readonly provider: string
  readonly owner_id: string
  readonly redirect_uri: string
  readonly scopes: string
  readonly data_key: string
  readonly verifier: string
  readonly nonce: string
  readonly code: string
  readonly reconnects: string | null
}

export interface EndedFlow {
  readonly id: string
  readonly provider: string
  readonly owner_id: string
}

export interface TicketHolder {
  readonly ticketHash: Buffer
  readonly ownerId: string
  readonly sessionBinding: Buffer
}

const wiped = sql`data_key = null, verifier = null, nonce = null, code = null, finished_at = auth.clock()`

/** Makes counting and inserting of one user's flows one after another, until the transaction ends. */
export const lockFlowsOf = (tx: Db, ownerId: string) =>
  tx.rows(sql`select pg_advisory_xact_lock(hashtextextended(${`flows of ${ownerId}`}, 0))`)

export async function countOpenFlows(tx: Db, ownerId: string): Promise<number> {
  const row = await tx.one<{ open: number }>(sql`
    select count(*)::int open from auth.oauth_states
     where owner_id = ${ownerId} and status in ('created', 'returned', 'exchanging')
       and (status <> 'created' or expires_at > auth.clock())`)
  return row?.open ?? 0
}

/** @returns undefined when the state was used before */
export const insertFlow = (tx: Db, flow: NewFlow) =>
  tx.one<{ id: string }>(sql`
    insert into auth.oauth_states
      (id, state_hash, provider, user_id, owner_id, session_binding, issuer, redirect_uri, scopes, data_key, verifier, nonce, reconnects, expires_at)
    values
      (${flow.id}, ${flow.stateHash}, ${flow.provider}, ${flow.ownerId}, ${flow.ownerId}, ${flow.sessionBinding}, ${flow.issuer},
       ${flow.redirectUri}, ${flow.scopes}, ${flow.dataKey}, ${flow.verifier}, ${flow.nonce}, ${flow.reconnects},
       auth.clock() + make_interval(secs => ${flow.expiresInSeconds}))
    on conflict (state_hash) do nothing
    returning id`)

/** The flow that waits for this state, on whatever provider's path it was presented. */
export const findLiveFlow = (db: Db, stateHash: Buffer) =>
  db.one<LiveFlow>(sql`
    select id, provider, owner_id, issuer, data_key from auth.oauth_states
     where state_hash = ${stateHash} and status = 'created' and expires_at > auth.clock()`)

/** The one statement by which a state is used. @returns undefined when another request was first or time is up */
export const parkCode = (
  db: Db,
  parked: { stateHash: Buffer; provider: string; code: string; ticketHash: Buffer },
) =>
  db.one<{ id: string }>(sql`
    update auth.oauth_states
       set status = 'returned', code = ${parked.code}, ticket_hash = ${parked.ticketHash}, returned_at = auth.clock()
     where state_hash = ${parked.stateHash} and provider = ${parked.provider} and status = 'created'
       and expires_at > auth.clock()
    returning id`)

/** The provider reported an error: the flow ends. */
export const failLiveFlow = (db: Db, failed: { stateHash: Buffer; provider: string; reason: string }) =>
  db.one<EndedFlow>(sql`
    update auth.oauth_states set status = 'failed', reason = ${failed.reason}, ${wiped}
     where state_hash = ${failed.stateHash} and provider = ${failed.provider} and status = 'created'
       and expires_at > auth.clock()
    returning id, provider, owner_id`)

/** Something is wrong with the callback of a live flow: nobody can use it any more. */
export const burnLiveFlow = (db: Db, burned: { stateHash: Buffer; reason: string }) =>
  db.one<EndedFlow>(sql`
    update auth.oauth_states set status = 'rejected', reason = ${burned.reason}, ${wiped}
     where state_hash = ${burned.stateHash} and status = 'created' and expires_at > auth.clock()
    returning id, provider, owner_id`)

/** Only the user and the session that began the flow, within two minutes of the callback, once. */
export const claimTicket = (db: Db, holder: TicketHolder) =>
  db.one<ClaimedFlow>(sql`
    update auth.oauth_states set status = 'exchanging', claimed_at = auth.clock()
     where ticket_hash = ${holder.ticketHash} and owner_id = ${holder.ownerId}
       and session_binding = ${holder.sessionBinding} and status = 'returned'
       and returned_at > auth.clock() - interval '2 minutes'
    returning id, provider, owner_id, redirect_uri, scopes, data_key, verifier, nonce, code, reconnects`)

export interface TicketFlow extends EndedFlow {
  readonly status: string
  readonly reason: string | null
  readonly connection_id: string | null
  readonly session_binding: Buffer
}

export const findByTicket = (db: Db, ticketHash: Buffer) =>
  db.one<TicketFlow>(sql`
    select id, provider, owner_id, status, reason, connection_id, session_binding
      from auth.oauth_states where ticket_hash = ${ticketHash}`)

/** A ticket that does not fit its holder ends the flow that waits for it. */
export const rejectTicket = (db: Db, rejected: { ticketHash: Buffer; reason: string }) =>
  db.one<EndedFlow>(sql`
    update auth.oauth_states set status = 'rejected', reason = ${rejected.reason}, ${wiped}
     where ticket_hash = ${rejected.ticketHash} and status = 'returned'
    returning id, provider, owner_id`)

/** @returns undefined when the sweep has ended this exchange already */
export const failExchange = (db: Db, failed: { id: string; reason: string }) =>
  db.one<{ id: string }>(sql`
    update auth.oauth_states set status = 'failed', reason = ${failed.reason}, ${wiped}
     where id = ${failed.id} and status = 'exchanging' returning id`)

/** @returns undefined when the sweep has ended this exchange already */
export const finishExchange = (tx: Db, finished: { id: string; connectionId: string }) =>
  tx.one<{ id: string }>(sql`
    update auth.oauth_states set status = 'done', connection_id = ${finished.connectionId}, ${wiped}
     where id = ${finished.id} and status = 'exchanging' returning id`)

/** A user signs out: what waits for him ends. An exchange under way has spent its code and finishes. */
export const endFlowsOf = (tx: Db, ended: { ownerId: string; reason: string }) =>
  tx.rows<{ id: string }>(sql`
    update auth.oauth_states set status = 'rejected', reason = ${ended.reason}, ${wiped}
     where owner_id = ${ended.ownerId} and status in ('created', 'returned')
    returning id`)

/** Ends what nobody came back for, parked codes after three minutes, and exchanges whose process died. */
export const endStaleFlows = (db: Db) =>
  db.rows<EndedFlow & { status: 'expired' | 'failed' }>(sql`
    update auth.oauth_states
       set status = case status when 'exchanging' then 'failed' else 'expired' end,
           reason = case status when 'exchanging' then 'failed_unknown' else 'expired' end,
           ${wiped}
     where (status = 'created' and expires_at <= auth.clock())
        or (status = 'returned' and returned_at <= auth.clock() - interval '3 minutes')
        or (status = 'exchanging' and coalesce(claimed_at, created_at) <= auth.clock() - interval '60 seconds')
    returning id, provider, owner_id, status`)

/** Ended flows hold no secret; they are kept a week as evidence. */
export const deleteOldFlows = (db: Db) =>
  db.rows(sql`delete from auth.oauth_states where finished_at < auth.clock() - interval '7 days'`)
