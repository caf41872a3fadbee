/** The due rows `auth.account_signals`: what a provider said about an account, stored before it is acknowledged. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

export interface NewSignal {
  readonly id: string
  readonly provider: string
  readonly accountKey: string | null
  readonly kind: string
  readonly detail: string | null
}

/** Said twice is said once. @returns the ids of what was new */
export const insertSignals = (db: Db, signals: readonly NewSignal[]) =>
  db.rows<{ id: string }>(sql`
    insert into auth.account_signals (id, provider, account_key, kind, detail)
    select * from unnest(
      ${signals.map((s) => s.id)}::text[], ${signals.map((s) => s.provider)}::text[],
      ${signals.map((s) => s.accountKey)}::text[], ${signals.map((s) => s.kind)}::text[],
      ${signals.map((s) => s.detail)}::text[])
    on conflict (id) do nothing returning id`)

export interface HeldSignal {
  readonly provider: string
  readonly account_key: string | null
  readonly kind: string
  readonly detail: string | null
  readonly received_at: Date
}

export const findSignal = (db: Db, due: DueRow) =>
  db.one<HeldSignal>(sql`
    select provider, account_key, kind, detail, received_at from auth.account_signals
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid`)

/** Connections of the account, whoever linked it; those that were connected after the signal are not meant. */
export const findMeant = (db: Db, signal: HeldSignal) =>
  db.rows<{ id: string }>(sql`
    select id from auth.oauth_tokens
     where provider = ${signal.provider} and account_key = ${signal.account_key}
       and status not in ('revoking', 'revoked')
       and coalesce((select max(s.finished_at) from auth.oauth_states s
                      where s.connection_id = oauth_tokens.id and s.status = 'done'), created_at) <= ${signal.received_at}
     order by id limit 1000`)

/** @returns false: lease lost */
export async function settleSignal(db: Db, due: DueRow): Promise<boolean> {
  const rows = await db.rows(sql`
    update auth.account_signals set due_at = null, lease_until = null, lease_id = null, claims = 0
     where id = ${due.id} and lease_id = ${due.lease_id}::uuid returning id`)
  return rows.length === 1
}

/** Longer than a token of that age is believed. */
export const deleteOldSignals = (db: Db) =>
  db.rows(
    sql`delete from auth.account_signals where due_at is null and received_at < auth.clock() - interval '90 days'`,
  )
