/** The due rows `auth.subscription_checks`, and what a check finds. Settling is fenced by the lease. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

/** A live subscription counts anew from now: what came before is in its gaps. */
export const armCheck = (tx: Db, id: string) =>
  tx.rows(sql`
    insert into auth.subscription_checks (id, due_at) values (${id}, auth.clock())
    on conflict (id) do update
      set due_at = auth.clock(), lease_until = null, lease_id = null, claims = 0, attempts = 0, cursor = null,
          checked_at = null, suspected_at = null`)

export interface CheckRow {
  readonly id: string
  readonly connection_id: string
  readonly owner_id: string
  readonly provider: string
  readonly account_label: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly last_notification_at: Date | null
  readonly every_seconds: number | null
  readonly cursor: string | null
  readonly checked_at: Date | null
  readonly suspected_at: Date | null
  readonly attempts: number
  /** A silent one may be replaced, and orphans of its connection looked for: not within a day. */
  readonly may_replace: boolean
  readonly may_list: boolean
  /** By the database's clock. */
  readonly now: Date
}

export const findCheck = (db: Db, due: DueRow) =>
  db.one<CheckRow>(sql`
    select s.id, s.connection_id, c.owner_id, s.provider, c.account_label, s.kind, s.resource, s.state, s.last_notification_at,
           k.every_seconds, k.cursor, k.checked_at, k.suspected_at, k.attempts,
           k.replaced_at is null or k.replaced_at < auth.clock() - interval '1 day' as may_replace,
           not exists (select from auth.subscription_checks o join auth.subscriptions os on os.id = o.id
                        where os.connection_id = s.connection_id and o.listed_at > auth.clock() - interval '1 day') as may_list,
           auth.clock() as now
      from auth.subscription_checks k
      join auth.subscriptions s on s.id = k.id
      join auth.oauth_tokens c on c.id = s.connection_id
     where k.id = ${due.id} and k.lease_id = ${due.lease_id}`)

/** Not live: the one that makes it live again sets its time. */
export const settleNotLive = (db: Db, due: DueRow) =>
  db.rows(sql`
    update auth.subscription_checks set due_at = null, lease_until = null, lease_id = null, claims = 0, attempts = 0
     where id = ${due.id} and lease_id = ${due.lease_id}`)

export interface Checked {
  readonly inSeconds: number
  readonly cursor: string
  readonly checkedAt: Date
  readonly missed: boolean
  readonly replaced: boolean
  readonly listed: boolean
}

/** @returns false: lease lost */
export async function settleChecked(tx: Db, due: DueRow, checked: Checked): Promise<boolean> {
  const settled = await tx.rows(sql`
    update auth.subscription_checks
       set due_at = auth.clock() + make_interval(secs => ${checked.inSeconds}), lease_until = null, lease_id = null, claims = 0,
           attempts = 0, cursor = ${checked.cursor}, checked_at = ${checked.checkedAt}, suspected_at = null,
           missed = missed + ${checked.missed ? 1 : 0}::int,
           missed_at = case when ${checked.missed} then auth.clock() else missed_at end,
           replaced_at = case when ${checked.replaced} then auth.clock() else replaced_at end,
           listed_at = case when ${checked.listed} then auth.clock() else listed_at end
     where id = ${due.id} and lease_id = ${due.lease_id} returning id`)
  return settled.length === 1
}

/** Asked again later from the same place. @param suspectedAt null: as it was */
export const deferCheck = (db: Db, due: DueRow, inSeconds: number, suspectedAt: Date | null) =>
  db.rows(sql`
    update auth.subscription_checks
       set due_at = auth.clock() + make_interval(secs => ${inSeconds}), lease_until = null, lease_id = null, claims = 0,
           suspected_at = coalesce(${suspectedAt}::timestamptz, suspected_at),
           attempts = case when ${suspectedAt}::timestamptz is null then attempts + 1 else 0 end
     where id = ${due.id} and lease_id = ${due.lease_id}`)

export const addGap = (tx: Db, subscriptionId: string, from: Date, to: Date) =>
  tx.rows(sql`
    insert into auth.subscription_gaps (subscription_id, connection_id, reason, from_at, to_at)
    select id, connection_id, 'missed', ${from}, ${to} from auth.subscriptions where id = ${subscriptionId}`)

/** Its next renewal replaces it. */
export const markSilent = (tx: Db, subscriptionId: string, since: Date) =>
  tx.rows(sql`
    update auth.subscriptions set silent_since = ${since}, updated_at = auth.clock()
     where id = ${subscriptionId} and state = 'active'`)
