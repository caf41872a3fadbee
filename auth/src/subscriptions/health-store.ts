/** Subscriptions of living connections that are not as they should be, counted for the gauges. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** Each has its alert in deploy/alerts. */
export const UNWELL = ['failed', 'waiting', 'failing', 'expiring', 'silent'] as const

export interface Unwell {
  readonly provider: string
  /** failed: given up · waiting: not made for ten minutes · failing: not renewed · expiring: in its last tenth · silent: missed within a day */
  readonly reason: (typeof UNWELL)[number]
  readonly count: number
}

/** One may count under several reasons. */
export const countUnwell = (db: Db) =>
  db.rows<Unwell>(sql`
    select s.provider, r.reason, count(*)::int as count
      from auth.subscriptions s
      join auth.oauth_tokens c on c.id = s.connection_id and c.status in ('active', 'partial')
      left join auth.subscription_checks k on k.id = s.id
     cross join lateral (values
       ('failed', s.state = 'failed'),
       ('waiting', s.state = 'wanted' and s.updated_at < auth.clock() - interval '10 minutes'),
       ('failing', s.state = 'active' and s.renewal_failure_code is not null),
       ('expiring', s.state = 'active' and s.expires_at < auth.clock() + make_interval(secs => s.life_seconds / 10)),
       ('silent', s.state = 'active' and k.missed_at > auth.clock() - interval '1 day')) r (reason, holds)
     where r.holds group by s.provider, r.reason`)
