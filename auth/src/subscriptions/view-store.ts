/** What a person sees of subscriptions: their state, their times, their gaps of the last month. */
import type { Db, Sql } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface SubscriptionRow {
  readonly id: string
  readonly connection_id: string
  readonly kind: string
  readonly resource: string
  readonly state: string
  readonly created_at: Date
  readonly expires_at: Date | null
  readonly last_notification_at: Date | null
  readonly failure_code: string | null
  readonly last_renewed_at: Date | null
  readonly renews_at: Date | null
  readonly renewal_failure_code: string | null
  readonly last_checked_at: Date | null
  readonly next_check_at: Date | null
  readonly missed: number
  readonly enabled: boolean
  readonly missed_at: Date | null
  readonly check_minutes: number | null
  readonly gaps: readonly { readonly reason: string; readonly from: string; readonly to: string | null }[]
}

/** The newest of each kind: earlier ones that were stopped are history. */
export const findOfConnections = (db: Db, connectionIds: readonly string[]) =>
  db.rows<SubscriptionRow>(sql`
    select distinct on (s.connection_id, s.kind)
           s.id, s.connection_id, s.kind, resource, state, s.created_at, expires_at, last_notification_at, failure_code, last_renewed_at,
           case when state = 'active' then r.due_at end as renews_at, renewal_failure_code, k.checked_at as last_checked_at,
           case when state = 'active' then k.due_at end as next_check_at,
           coalesce(k.missed, 0) as missed, o.kind is null as enabled, k.missed_at, k.every_seconds / 60 as check_minutes, g.gaps
      from auth.subscriptions s
      left join auth.subscription_renewals r on r.id = s.id
      left join auth.subscription_checks k on k.id = s.id
      left join auth.subscriptions_off o on o.connection_id = s.connection_id and o.kind = s.kind
     cross join lateral (
       select coalesce(jsonb_agg(jsonb_build_object('reason', reason, 'from', ${isoText(sql`from_at`)}, 'to', ${isoText(sql`to_at`)}) order by id desc), '[]') as gaps
         from (select * from auth.subscription_gaps
                where subscription_id = s.id and created_at > auth.clock() - interval '30 days' order by id desc limit 5) newest) g
     where s.connection_id = any (${[...connectionIds]}::text[])
     order by s.connection_id, s.kind, s.created_at desc, s.id`)

/** As JavaScript writes it. */
function isoText(at: Sql): Sql {
  return sql`to_char(${at} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}
