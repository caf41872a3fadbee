/** Subscriptions that were found by asking (each calendar, each shared drive), wanted again with what they were found by. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** The provider ended them with the old grant, as it did what they were found by. */
export const wantDiscoveredAgain = (tx: Db, connectionId: string, origins: readonly string[]) =>
  tx.rows(sql`
    with again as (
      update auth.subscriptions set state = 'wanted', failure_code = null, updated_at = auth.clock()
       where connection_id = ${connectionId} and state <> 'stopped' and strpos(kind, ':') > 0
         and split_part(kind, ':', 1) = any(${origins}::text[])
      returning id
    )
    update auth.subscription_renewals
       set due_at = auth.clock(), lease_until = null, lease_id = null, attempts = 0, claims = 0
     where id in (select id from again)`)

/** What failed for good may work by now: a setting changed, or somebody repaired it. */
export const wantFailedDiscoveredAgain = (tx: Db, connectionId: string, origins: readonly string[]) =>
  tx.rows<{ id: string }>(sql`
    with again as (
      update auth.subscriptions set state = 'wanted', failure_code = null, updated_at = auth.clock()
       where connection_id = ${connectionId} and state = 'failed' and strpos(kind, ':') > 0
         and split_part(kind, ':', 1) = any(${origins}::text[])
      returning id
    )
    update auth.subscription_renewals
       set due_at = auth.clock(), lease_until = null, lease_id = null, attempts = 0, claims = 0
     where id in (select id from again)`)
