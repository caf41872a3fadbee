/** What the database remembers of the key ring: ids, check values, status. Never key bytes. */
import type { Database, Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { checkKeys, type KeyRing, openKeyRing, type StoredKey } from './key-ring.ts'

/**
 * Compares the configured keys with a database that has been used before, without changing anything: asked before
 * migrations, so that a wrong key finds the schema as it left it. An empty database has nothing to compare.
 * @throws KeyRingError with a sentence for the operator
 */
export async function verifyKeys(db: Db, keys: ReadonlyMap<string, Buffer>): Promise<void> {
  const table = await db.one<{ there: boolean }>(sql`select to_regclass('auth.vault_keys') is not null there`)
  if (table?.there !== true) return
  checkKeys(keys, await db.rows<StoredKey>(sql`select key_id, check_value, status from auth.vault_keys`))
}

/**
 * Opens the ring after checking it against `auth.vault_keys`; remembers keys it has not seen. Changes nothing when a
 * key is missing or wrong.
 * @throws KeyRingError with a sentence for the operator
 */
export function loadKeyRing(db: Database, keys: ReadonlyMap<string, Buffer>): Promise<KeyRing> {
  return db.transaction(async (tx) => {
    await tx.rows(sql`lock table auth.vault_keys in share row exclusive mode`)
    const stored = await tx.rows<StoredKey>(
      sql`select key_id, check_value, status from auth.vault_keys order by created_at, key_id`,
    )
    const { primaryId, unknown } = checkKeys(keys, stored)
    const ring = openKeyRing(keys, primaryId)
    for (const keyId of unknown) {
      await tx.rows(sql`
        insert into auth.vault_keys (key_id, check_value, status)
        values (${keyId}, ${ring.checkValue(keyId)}, ${keyId === primaryId ? 'primary' : 'decrypt'})`)
    }
    return ring
  })
}
