/**
 * Whether this PostgreSQL keeps what it acknowledges. Asked at start, every minute and by each probe of `/ready`.
 * `kill -9` cannot reveal `fsync=off`, so the settings are read instead.
 */
import type { Db } from './sql.ts'
import { sql } from './sql.ts'

export type Durability =
  | { readonly kind: 'durable' }
  | { readonly kind: 'not_durable'; readonly reasons: readonly string[] }

export async function readDurability(db: Db): Promise<Durability> {
  const row = await db.one<{
    fsync: string
    full_page_writes: string
    synchronous_commit: string
    standby: boolean
  }>(sql`
    select current_setting('fsync') fsync, current_setting('full_page_writes') full_page_writes,
           current_setting('synchronous_commit') synchronous_commit, pg_is_in_recovery() standby`)
  const reasons: string[] = []
  if (row?.fsync !== 'on') reasons.push('fsync is off')
  if (row?.full_page_writes !== 'on') reasons.push('full_page_writes is off')
  if (row?.synchronous_commit !== 'on' && row?.synchronous_commit !== 'remote_apply')
    reasons.push('synchronous_commit is neither on nor remote_apply')
  if (row?.standby === true) reasons.push('the server is a standby')
  return reasons.length === 0 ? { kind: 'durable' } : { kind: 'not_durable', reasons }
}
