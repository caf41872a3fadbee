/**
 * Begins a rewrap, or finds the one that was interrupted. It refuses while a process still seals with another key than
 * the primary one, because what that process seals would be missed. Moves no row.
 */
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import type { KeyRing } from './key-ring.ts'
import {
  countRowsOnOtherKeys,
  countSealedRows,
  endRun,
  findOpenRun,
  insertRun,
  type Run,
} from './rewrap-store.ts'
import { findLiveProcesses, type LiveProcess } from './rotation-store.ts'
import { lockKeys } from './store.ts'

export type Beginning =
  | { readonly kind: 'begun'; readonly run: Run; readonly resumed: boolean }
  | { readonly kind: 'nothing_to_do' }
  | { readonly kind: 'not_followed_by'; readonly processes: readonly LiveProcess[] }
  /** One with new data keys was interrupted: wrapping alone would not finish it. */
  | { readonly kind: 'new_data_keys_open' }

export function beginRewrap(
  { db, ring }: { readonly db: Database; readonly ring: KeyRing },
  kind: Run['kind'],
): Promise<Beginning> {
  return db.transaction(async (tx): Promise<Beginning> => {
    await lockKeys(tx)
    const keyId = ring.primaryId
    const processes = (await findLiveProcesses(tx)).filter((process) => process.sealing_with !== keyId)
    if (processes.length > 0) return { kind: 'not_followed_by', processes }
    const open = await findOpenRun(tx)
    if (open?.kind === 'new_data_keys' && kind === 'wrap') return { kind: 'new_data_keys_open' }
    if (open?.kind === kind && open.key_id === keyId) return { kind: 'begun', run: open, resumed: true }
    if (open !== undefined) await endRun(tx, open.id, 'superseded')
    const total = kind === 'wrap' ? await countRowsOnOtherKeys(tx, keyId) : await countSealedRows(tx)
    if (total === 0) return { kind: 'nothing_to_do' }
    const run = await insertRun(tx, { kind, key_id: keyId, total })
    if (run === undefined) throw Object.assign(new Error('no row came back'), { code: 'no_row' })
    const detail = { kind, rows: total }
    await audit(tx, { actor: 'admin-cli', action: 'key.rewrap_begun', subject: `key:${keyId}`, detail })
    return { kind: 'begun', run, resumed: false }
  })
}
