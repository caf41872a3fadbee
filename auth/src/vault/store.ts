/** What the database remembers of the key ring: ids, check values, status. Never key bytes. */
import type { Database } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { checkKeys, type KeyRing, openKeyRing, type StoredKey } from './key-ring.ts'

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
