/**
 * The statements of a rewrap: its one open run, and batches of rows. Rows are locked by the reading statement and skipped
 * where somebody else holds them, so that a batch never waits for a row and overwrites no write that it has not seen.
 * Table and column names come from `sealed-tables.ts` only.
 */
import type { Db } from '../db/sql.ts'
import { empty, join, raw, sql } from '../db/sql.ts'
import { PURPOSES, type Purpose, SEALED_TABLES, type SealedTable } from './sealed-tables.ts'

export interface Run {
  readonly id: string
  readonly kind: 'wrap' | 'new_data_keys'
  readonly key_id: string
  readonly table_name: string
  readonly cursor: string
  readonly done: number
  readonly total: number
  readonly started_at: Date
  readonly moved_seconds: number
}

const run = sql`id::text, kind, key_id, table_name, cursor, done::int, total::int, started_at,
  extract(epoch from now() - moved_at)::float8 moved_seconds`

export const findOpenRun = (db: Db) =>
  db.one<Run>(sql`select ${run} from auth.rewraps where ended_at is null`)

/** One batch of a run at a time, whoever works on it. @returns undefined when the run has ended */
export const lockRun = (tx: Db, id: string) =>
  tx.one<Run & { primary: boolean }>(sql`
    select ${run}, exists (select from auth.vault_keys k where k.key_id = r.key_id and k.status = 'primary') "primary"
      from auth.rewraps r where id = ${id}::bigint and ended_at is null for update of r`)

export const insertRun = (tx: Db, made: Pick<Run, 'kind' | 'key_id' | 'total'>) =>
  tx.one<Run>(sql`
    insert into auth.rewraps (kind, key_id, total) values (${made.kind}, ${made.key_id}, ${made.total}) returning ${run}`)

export const moveRun = (tx: Db, moved: Pick<Run, 'id' | 'table_name' | 'cursor'> & { done: number }) =>
  tx.rows(sql`
    update auth.rewraps
       set table_name = ${moved.table_name}, cursor = ${moved.cursor}, done = done + ${moved.done}, moved_at = now()
     where id = ${moved.id}::bigint`)

export const endRun = (tx: Db, id: string, ending: 'finished' | 'superseded') =>
  tx.rows(sql`update auth.rewraps set ended_at = now(), ending = ${ending} where id = ${id}::bigint`)

/** A row with its data key and, where asked for, its cells. */
export type SealedRow = { readonly id: string; readonly owner: string; readonly provider: string } & {
  readonly [column: string]: string | null
  readonly data_key: string
}

const columnsOf = (table: SealedTable) => sql`
  t.id, ${table.owner === undefined ? sql`''` : raw(`t.${table.owner}`)} "owner",
  ${table.provider === undefined ? sql`''` : raw(`t.${table.provider}`)} provider, t.data_key`

const onOtherKeys = (purpose: Purpose, keyId: string, but: readonly string[]) => sql`
  data_key <> ''
    and split_part(data_key, '.', 2) = any (array(select key_id from auth.vault_keys where key_id <> ${keyId}))
    and not (${purpose}::text || '/' || t.id) = any (${[...but]}::text[])`

/** @param of.but `table/id` of rows to leave out, since they could not be opened */
export const lockRowsOnOtherKeys = (
  tx: Db,
  purpose: Purpose,
  of: { readonly keyId: string; readonly limit: number; readonly but: readonly string[] },
) =>
  tx.rows<SealedRow>(sql`
    select ${columnsOf(SEALED_TABLES[purpose])} from auth.${raw(purpose)} t
     where ${onOtherKeys(purpose, of.keyId, of.but)}
     limit ${of.limit} for no key update of t skip locked`)

/** @returns how many were still as they were read */
export const replaceDataKeys = async (
  tx: Db,
  purpose: Purpose,
  rows: readonly { readonly id: string; readonly earlier: string; readonly data_key: string }[],
): Promise<number> =>
  (
    await tx.rows(sql`
      update auth.${raw(purpose)} t set data_key = n.data_key
        from unnest(${rows.map((row) => row.id)}::text[], ${rows.map((row) => row.earlier)}::text[],
                    ${rows.map((row) => row.data_key)}::text[]) n (id, earlier, data_key)
       where t.id = n.id and t.data_key = n.earlier
      returning t.id`)
  ).length

/** Those that somebody holds right now are counted too. @param but as above */
export const countRowsOnOtherKeys = async (
  db: Db,
  keyId: string,
  but: readonly string[] = [],
): Promise<number> =>
  sum(
    await db.rows<{ count: number }>(
      join(
        PURPOSES.map(
          (table) => sql`
            select count(*)::int count from auth.${raw(table)} t where ${onOtherKeys(table, keyId, but)}`,
        ),
        ' union all ',
      ),
    ),
  )

export const countSealedRows = async (db: Db): Promise<number> =>
  sum(
    await db.rows<{ count: number }>(
      join(
        PURPOSES.map((table) => sql`select count(*)::int count from auth.${raw(table)} where data_key <> ''`),
        ' union all ',
      ),
    ),
  )

const sum = (rows: readonly { count: number }[]) => rows.reduce((all, { count }) => all + count, 0)

/** The next ids in their order, of rows that have a data key. */
export const findNextIds = async (
  db: Db,
  purpose: Purpose,
  after: string,
  limit: number,
): Promise<string[]> =>
  (
    await db.rows<{ id: string }>(sql`
      select id from auth.${raw(purpose)} where id > ${after} and data_key <> '' order by id limit ${limit}`)
  ).map(({ id }) => id)

/**
 * Of these rows those that nobody works with: their lease is locked first, so that whoever wants it waits until this
 * transaction has ended and then reads the new data key.
 */
export async function lockIdleRows(tx: Db, purpose: Purpose, ids: readonly string[]): Promise<SealedRow[]> {
  const table: SealedTable = SEALED_TABLES[purpose]
  const cells = table.cells.map((cell) => raw(`t.${cell}`))
  const idle = table.leases === undefined ? ids : await lockIdleLeases(tx, table.leases, ids)
  return tx.rows<SealedRow>(sql`
    select ${columnsOf(table)}, ${join(cells)} from auth.${raw(purpose)} t
     where t.id = any (${[...idle]}::text[]) and data_key <> ''
     order by t.id for no key update of t skip locked`)
}

async function lockIdleLeases(tx: Db, leases: string, ids: readonly string[]): Promise<readonly string[]> {
  const known = await tx.rows<{ id: string; idle: boolean }>(sql`
    select id, lease_until is null or lease_until < auth.clock() idle from auth.${raw(leases.slice('auth.'.length))}
     where id = any (${[...ids]}::text[]) for update skip locked`)
  const all = await tx.rows<{ id: string }>(sql`
    select id from auth.${raw(leases.slice('auth.'.length))} where id = any (${[...ids]}::text[])`)
  const idle = new Set(known.filter((row) => row.idle).map((row) => row.id))
  const leased = new Set(all.map((row) => row.id))
  // a row without a due row: nobody can be at it except by writing it, and that is locked or seen by the version
  return ids.filter((id) => idle.has(id) || !leased.has(id))
}

/** A new data key and the cells sealed with it. @returns whether the row still had the earlier data key */
export const replaceCells = async (
  tx: Db,
  purpose: Purpose,
  row: { readonly id: string; readonly earlier: string; readonly data_key: string },
  cells: readonly (readonly [column: string, sealed: string])[],
): Promise<boolean> => {
  const table: SealedTable = SEALED_TABLES[purpose]
  const changes = cells.map(([column, sealed]) => sql`, ${raw(column)} = ${sealed}`)
  const changed = await tx.rows(sql`
    update auth.${raw(purpose)}
       set data_key = ${row.data_key}${changes.length === 0 ? empty : join(changes, '')}
           ${table.versioned === true ? sql`, version = version + 1` : empty}
     where id = ${row.id} and data_key = ${row.earlier}
    returning id`)
  return changed.length === 1
}
