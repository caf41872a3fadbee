/** The successor of a live subscription: its secret before the call, its place after. Fenced by the renewal's lease. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

/** Before the call: its first notification may arrive before its answer. @returns false: lease lost */
export async function storeNextSecret(
  db: Db,
  due: DueRow,
  hash: Buffer,
  channelKeyId: string,
): Promise<boolean> {
  const stored = await db.rows(sql`
    update auth.subscriptions s
       set next_secret_hash = ${hash}, next_channel_key_id = ${channelKeyId}, updated_at = auth.clock()
      from auth.subscription_renewals r
     where s.id = ${due.id} and r.id = s.id and r.lease_id = ${due.lease_id} and s.state = 'active'
    returning s.id`)
  return stored.length === 1
}

/** The successor takes its place; what the old one still sends stays genuine until it expires. */
export const takePlace = (
  tx: Db,
  row: { id: string; providerSubscriptionId: string; expiresAt: Date; cursor: string | null },
) =>
  tx.rows(sql`
    update auth.subscriptions
       set previous_secret_hash = channel_secret_hash, previous_provider_subscription_id = provider_subscription_id,
           previous_expires_at = expires_at, channel_secret_hash = next_secret_hash, channel_key_id = next_channel_key_id,
           next_secret_hash = null, next_channel_key_id = null, provider_subscription_id = ${row.providerSubscriptionId},
           expires_at = ${row.expiresAt}, cursor = coalesce(${row.cursor}, cursor),
           life_seconds = extract(epoch from ${row.expiresAt}::timestamptz - auth.clock())::float8, last_renewed_at = auth.clock(),
           renewal_failure_code = null, expiring_told = false, silent_since = null, updated_at = auth.clock()
     where id = ${row.id} and state = 'active' and next_secret_hash is not null`)
