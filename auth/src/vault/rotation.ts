/**
 * Promoting and disabling a key: each refuses, with its reason, what would make something unreadable. Both run under the
 * lock that a starting process takes too, so that no process appears in between. They change one status and move no row.
 */
import { audit } from '../audit/audit.ts'
import type { Database, Db } from '../db/sql.ts'
import { sameBytes } from '../platform/ids.ts'
import type { FollowingKeyRing } from './key-ring.ts'
import {
  countRowsByKey,
  countSubscriptionsOf,
  findKeyRows,
  findLiveProcesses,
  type KeyRow,
  type LiveProcess,
  makeDisabled,
  makePrimary,
  type RowsOfKey,
} from './rotation-store.ts'
import { lockKeys } from './store.ts'

export interface RotationNeeds {
  readonly db: Database
  /** As this command holds it. */
  readonly ring: FollowingKeyRing
}

export type Promotion =
  | { readonly kind: 'promoted'; readonly earlierId: string | undefined; readonly processes: number }
  | { readonly kind: 'already_primary' }
  | { readonly kind: 'disabled' }
  /** Not in the environment of this command, or with other bytes. */
  | { readonly kind: 'not_held_here' }
  /** No process of the service has remembered it yet. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'not_held_by'; readonly lacking: readonly LiveProcess[] }

/** From the next heartbeats on every process seals with this key. @param keyId must be held by every live process */
export function promoteKey({ db, ring }: RotationNeeds, keyId: string): Promise<Promotion> {
  return db.transaction(async (tx) => {
    await lockKeys(tx)
    const keys = await findKeyRows(tx)
    const key = keys.find((row) => row.key_id === keyId)
    if (key === undefined) return { kind: 'unknown' }
    if (key.status === 'primary') return { kind: 'already_primary' }
    if (key.status === 'disabled') return { kind: 'disabled' }
    if (!holds(ring, key)) return { kind: 'not_held_here' }
    const live = await findLiveProcesses(tx)
    const lacking = live.filter((process) => !process.key_ids.includes(keyId))
    if (lacking.length > 0) return { kind: 'not_held_by', lacking }
    const earlierId = keys.find((row) => row.status === 'primary')?.key_id
    await makePrimary(tx, keyId)
    await auditKey(tx, 'key.promoted', keyId, { earlier: earlierId ?? null, processes: live.length })
    return { kind: 'promoted', earlierId, processes: live.length }
  })
}

export type Disabling =
  | { readonly kind: 'disabled' }
  | { readonly kind: 'already_disabled' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'primary' }
  | { readonly kind: 'named_by_rows'; readonly rows: readonly RowsOfKey[] }
  | { readonly kind: 'named_by_subscriptions'; readonly count: number; readonly until: Date | null }
  /** Processes that have not heard of the newer primary yet. */
  | { readonly kind: 'sealed_with_by'; readonly processes: readonly LiveProcess[] }

/** Nothing opens with this key any more, also where it is still configured. */
export function disableKey({ db }: Pick<RotationNeeds, 'db'>, keyId: string): Promise<Disabling> {
  return db.transaction(async (tx) => {
    await lockKeys(tx)
    const key = (await findKeyRows(tx)).find((row) => row.key_id === keyId)
    if (key === undefined) return { kind: 'unknown' }
    if (key.status === 'primary') return { kind: 'primary' }
    if (key.status === 'disabled') return { kind: 'already_disabled' }
    const processes = (await findLiveProcesses(tx)).filter((process) => process.sealing_with === keyId)
    if (processes.length > 0) return { kind: 'sealed_with_by', processes }
    const rows = (await countRowsByKey(tx)).filter((row) => row.key === keyId)
    if (rows.length > 0) return { kind: 'named_by_rows', rows }
    const subscriptions = await countSubscriptionsOf(tx, keyId)
    if (subscriptions !== undefined && subscriptions.count > 0)
      return { kind: 'named_by_subscriptions', ...subscriptions }
    await makeDisabled(tx, keyId)
    await auditKey(tx, 'key.disabled', keyId, {})
    return { kind: 'disabled' }
  })
}

/** Whether the ring has this key with the bytes that the service remembers. */
export function holds(ring: FollowingKeyRing, key: Pick<KeyRow, 'key_id' | 'check_value'>): boolean {
  return ring.keyIds.includes(key.key_id) && sameBytes(ring.checkValue(key.key_id), key.check_value)
}

const auditKey = (tx: Db, action: string, keyId: string, detail: Record<string, string | number | null>) =>
  audit(tx, { actor: 'admin-cli', action, subject: `key:${keyId}`, detail })
