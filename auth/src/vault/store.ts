/**
 * What the database remembers of the key ring: ids, check values, status; and which live process holds which keys.
 * Never key bytes.
 */
import type { Database, Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { checkKeys, type FollowingKeyRing, openKeyRing, type StoredKey } from './key-ring.ts'

/** One process of the service. */
export interface ProcessName {
  /** A uuid for each start. */
  readonly id: string
  readonly role: string
  readonly version: string
}

/**
 * Compares the configured keys with a database that has been used before, without changing anything: asked before
 * migrations, so that a wrong key finds the schema as it left it. An empty database has nothing to compare.
 * @throws KeyRingError with a sentence for the operator
 */
export async function verifyKeys(db: Db, keys: ReadonlyMap<string, Buffer>): Promise<void> {
  const table = await db.one<{ there: boolean; dated: boolean }>(sql`
    select to_regclass('auth.vault_keys') is not null there,
           exists (select from information_schema.columns where table_schema = 'auth' and table_name = 'vault_keys'
                      and column_name = 'first_primary_at') dated`)
  if (table?.there !== true) return
  checkKeys(
    keys,
    table.dated
      ? await findKeys(db)
      : // before migration 0330, when every key that was remembered had to be there
        await db.rows<StoredKey>(
          sql`select key_id, check_value, status, created_at first_primary_at from auth.vault_keys`,
        ),
  )
}

export const findKeys = (db: Db) =>
  db.rows<StoredKey>(sql`
    select key_id, check_value, status, first_primary_at from auth.vault_keys order by created_at, key_id`)

/** Whoever promotes or disables a key, and whoever starts, does so one after the other. */
export const lockKeys = (tx: Db) => tx.rows(sql`lock table auth.vault_keys in share row exclusive mode`)

/**
 * Opens the ring after checking it against `auth.vault_keys`; remembers keys it has not seen. Changes nothing when a
 * key is missing or wrong.
 * @param process the process that will hold the ring: listed in the same transaction, so that no key is promoted that it
 *   lacks; absent for commands that only look
 * @throws KeyRingError with a sentence for the operator
 */
export function loadKeyRing(
  db: Database,
  keys: ReadonlyMap<string, Buffer>,
  process?: ProcessName,
): Promise<FollowingKeyRing> {
  return db.transaction(async (tx) => {
    await lockKeys(tx)
    const checked = checkKeys(keys, await findKeys(tx))
    const ring = openKeyRing(keys, checked.primaryId)
    ring.follow(checked)
    for (const keyId of checked.unknownIds) {
      await tx.rows(sql`
        insert into auth.vault_keys (key_id, check_value, status, first_primary_at)
        select ${keyId}, ${ring.checkValue(keyId)}, p.status, case p.status when 'primary' then auth.clock() end
          from (select case when ${keyId === checked.primaryId} then 'primary' else 'decrypt' end status) p`)
    }
    if (process !== undefined) await reportProcess(tx, process, ring)
    return ring
  })
}

/**
 * Opens the ring of a command: nothing is remembered and no process is listed.
 * @throws KeyRingError as loadKeyRing
 */
export async function lookAtKeyRing(db: Db, keys: ReadonlyMap<string, Buffer>): Promise<FollowingKeyRing> {
  const checked = checkKeys(keys, await findKeys(db))
  const ring = openKeyRing(keys, checked.primaryId)
  ring.follow(checked)
  return ring
}

/** The heartbeat. @returns what the keys are now */
export const reportProcess = (db: Db, process: ProcessName, ring: FollowingKeyRing) =>
  db.rows<Pick<StoredKey, 'key_id' | 'status'>>(sql`
    with seen as (
      insert into auth.processes (id, role, version, key_ids, sealing_with)
      values (${process.id}, ${process.role}, ${process.version}, ${[...ring.keyIds]}::text[], ${ring.primaryId})
      on conflict (id) do update set sealing_with = excluded.sealing_with, seen_at = now()
    )
    select key_id, status from auth.vault_keys`)

export const forgetProcess = (db: Db, id: string) => db.rows(sql`delete from auth.processes where id = ${id}`)

/** Those that were killed: nobody counts them after half a minute, and after a day nobody wants to see them. */
export const sweepProcesses = (db: Db) =>
  db.rows(sql`delete from auth.processes where seen_at < now() - interval '1 day'`)
