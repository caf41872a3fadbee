/**
 * Moves every row to the primary key while the service runs: `wrap` wraps the data keys anew and leaves the sealed cells
 * as they are; `new_data_keys`, for a key that leaked, gives each row a new data key and seals its cells anew. In batches
 * of one short transaction, at a rate; how far it is stands in the database, so that a killed run goes on where it was.
 * It never holds a row that somebody else works with, and never prints or logs what it opens.
 */
import type { Database, Transaction } from '../db/sql.ts'
import type { KeyRing } from './key-ring.ts'
import {
  countRowsOnOtherKeys,
  endRun,
  findNextIds,
  lockIdleRows,
  lockRowsOnOtherKeys,
  lockRun,
  moveRun,
  type Run,
  replaceCells,
  replaceDataKeys,
  type SealedRow,
} from './rewrap-store.ts'
import { PURPOSES, type Purpose, SEALED_TABLES, type SealedTable } from './sealed-tables.ts'
import { type KeyContext, type Vault, VaultIntegrityError, type WrappedKey } from './vault.ts'

export interface RewrapNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly ring: KeyRing
  readonly pause: (ms: number) => Promise<void>
  readonly monotonicMs: () => number
  /** After each batch. */
  readonly progress: (run: { readonly done: number; readonly total: number }) => void
}

export type RewrapOutcome =
  | { readonly kind: 'finished'; readonly done: number; readonly unreadable: readonly string[] }
  /** Another key became primary meanwhile: this run moves no more. */
  | { readonly kind: 'not_primary' }
  /** Somebody else finished or superseded the run. */
  | { readonly kind: 'ended' }

/** Rows of a batch are locked for as long as it takes: some 30 ms for wrapping 250, or sealing 60 anew. */
const LARGEST_BATCH = { wrap: 250, new_data_keys: 60 } as const
const HELD_PAUSE_MS = 200

/** A row that cannot be opened stays as it is and is named in the outcome. @param rowsPerSecond at most */
export async function rewrap(needs: RewrapNeeds, run: Run, rowsPerSecond: number): Promise<RewrapOutcome> {
  const limit = Math.max(1, Math.min(LARGEST_BATCH[run.kind], Math.ceil(rowsPerSecond / 4)))
  const unreadable = new Set<string>()
  const startedMs = needs.monotonicMs()
  let mine = 0
  for (;;) {
    const batch = await needs.db.transaction(async (tx): Promise<Batch> => {
      const open = await lockRun(tx, run.id)
      if (open === undefined) return { kind: 'ended' }
      if (!open.primary || needs.ring.primaryId !== open.key_id) return { kind: 'not_primary' }
      const moved =
        run.kind === 'wrap'
          ? await wrapBatch(needs, tx, open, limit, unreadable)
          : await newKeysBatch(needs, tx, open, limit, unreadable)
      if (moved.kind === 'nothing_left') await endRun(tx, run.id, 'finished')
      return { ...moved, run: open }
    })
    if (batch.kind === 'ended' || batch.kind === 'not_primary') return { kind: batch.kind }
    if (batch.kind === 'nothing_left')
      return { kind: 'finished', done: batch.run.done, unreadable: [...unreadable] }
    mine += batch.done
    needs.progress({ done: batch.run.done + batch.done, total: batch.run.total })
    if (batch.kind === 'held') await needs.pause(HELD_PAUSE_MS)
    const aheadMs = (mine / rowsPerSecond) * 1000 - (needs.monotonicMs() - startedMs)
    if (aheadMs > 0) await needs.pause(aheadMs)
  }
}

type Moved =
  | { readonly kind: 'moved'; readonly done: number }
  /** What is left is in somebody else's hands: again in a moment. */
  | { readonly kind: 'held'; readonly done: number }
  | { readonly kind: 'nothing_left' }
type Batch = { readonly kind: 'ended' } | { readonly kind: 'not_primary' } | (Moved & { readonly run: Run })

async function wrapBatch(
  needs: RewrapNeeds,
  tx: Transaction,
  run: Run,
  limit: number,
  unreadable: Set<string>,
): Promise<Moved> {
  for (const purpose of PURPOSES) {
    const but = [...unreadable]
    const rows = await lockRowsOnOtherKeys(tx, purpose, { keyId: run.key_id, limit, but })
    if (rows.length === 0) continue
    const wrapped = rows.flatMap((row) => {
      const dataKey = readable(unreadable, purpose, row, () =>
        needs.vault.rewrap(row.data_key, contextOf(purpose, row)),
      )
      return dataKey === undefined ? [] : [{ id: row.id, earlier: row.data_key, data_key: dataKey }]
    })
    const done = await replaceDataKeys(tx, purpose, wrapped)
    await moveRun(tx, { ...run, done })
    return { kind: 'moved', done }
  }
  const left = await countRowsOnOtherKeys(tx, run.key_id, [...unreadable])
  return left > 0 ? { kind: 'held', done: 0 } : { kind: 'nothing_left' }
}

async function newKeysBatch(
  needs: RewrapNeeds,
  tx: Transaction,
  run: Run,
  limit: number,
  unreadable: Set<string>,
): Promise<Moved> {
  const place = placeOf(run)
  if (place === undefined) return wrapBatch(needs, tx, run, limit, unreadable)
  const { purpose, cursor } = place
  const ids = await findNextIds(tx, purpose, cursor, limit)
  const last = ids.at(-1)
  if (last === undefined) {
    await moveRun(tx, { id: run.id, table_name: nextPurpose(purpose) ?? FINISHED, cursor: '', done: 0 })
    return { kind: 'moved', done: 0 }
  }
  const rows = new Map((await lockIdleRows(tx, purpose, ids)).map((row) => [row.id, row]))
  // in the order of the cursor, up to the first row that somebody holds
  let done = 0
  let to = cursor
  for (const id of ids) {
    const row = rows.get(id)
    if (row === undefined) break
    const sealed = readable(unreadable, purpose, row, () => sealAnew(needs.vault, purpose, row))
    if (sealed !== undefined) {
      await replaceCells(tx, purpose, { id, earlier: row.data_key, data_key: sealed.dataKey }, sealed.cells)
      done += 1
    }
    to = id
  }
  await moveRun(tx, { id: run.id, table_name: purpose, cursor: to, done })
  return { kind: to === last ? 'moved' : 'held', done }
}

const FINISHED = 'finished'
/** Tables whose rows stay: rows that pass by themselves are wrapped anew at the end, like what was sealed meanwhile. */
const STAYING = PURPOSES.filter((purpose) => !('passing' in SEALED_TABLES[purpose]))

function placeOf(run: Run): { purpose: Purpose; cursor: string } | undefined {
  if (run.table_name === FINISHED) return undefined
  const purpose = run.table_name === '' ? STAYING[0] : STAYING.find((known) => known === run.table_name)
  return purpose && { purpose, cursor: run.cursor }
}

const nextPurpose = (purpose: Purpose): Purpose | undefined => STAYING[STAYING.indexOf(purpose) + 1]

function sealAnew(
  vault: Vault,
  purpose: Purpose,
  row: SealedRow,
): { dataKey: WrappedKey; cells: [string, string][] } {
  const context = contextOf(purpose, row)
  const table: SealedTable = SEALED_TABLES[purpose]
  const earlier = vault.open(row.data_key, context)
  const dataKey = vault.newDataKey(context)
  const key = vault.open(dataKey, context)
  const cells = table.cells.flatMap((column): [string, string][] => {
    const sealed = row[column]
    return sealed == null || sealed === '' ? [] : [[column, key.seal(column, earlier.unseal(column, sealed))]]
  })
  return { dataKey, cells }
}

/** @returns undefined for a row that was damaged or swapped: it is remembered and left as it is */
function readable<T>(
  unreadable: Set<string>,
  purpose: Purpose,
  row: SealedRow,
  work: () => T,
): T | undefined {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof VaultIntegrityError)) throw error
    unreadable.add(`${purpose}/${row.id}`)
    return undefined
  }
}

const contextOf = (purpose: Purpose, row: SealedRow): KeyContext => ({
  purpose,
  owner: row.owner,
  row: row.id,
  provider: row.provider,
})
