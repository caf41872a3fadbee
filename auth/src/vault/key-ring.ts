/**
 * The keys that wrap data keys, by id. Bytes come from the environment, their status from `auth.vault_keys`; a check
 * value for each id is stored at the first start, so that a missing, short or wrong key is found before anything is
 * written. Never generates a key, never prints one.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { sameBytes } from '../platform/ids.ts'
import { KEY_BYTES } from './cipher.ts'

export class KeyRingError extends Error {
  readonly code = 'key_ring'
  readonly safe = true
}

export interface KeyRing {
  readonly primaryId: string
  has(keyId: string): boolean
  /** @returns 32 bytes for one purpose only. @throws KeyRingError for an id that is not configured */
  derive(keyId: string, purpose: string): Buffer
  /** First 8 bytes of HMAC(key, "kcv"): tells keys apart, reveals nothing. */
  checkValue(keyId: string): Buffer
}

/** @param keys id → 32 bytes, in the order of the environment: the first is primary at the first start */
export function openKeyRing(keys: ReadonlyMap<string, Buffer>, primaryId: string): KeyRing {
  const keyOf = (keyId: string): Buffer => {
    const key = keys.get(keyId)
    if (key === undefined)
      throw new KeyRingError(`encryption key "${keyId}" is not configured: add it to ENCRYPTION_KEYS`)
    return key
  }
  for (const [keyId, bytes] of keys) {
    if (bytes.length !== KEY_BYTES)
      throw new KeyRingError(`encryption key "${keyId}" has ${bytes.length} bytes instead of 32`)
  }
  keyOf(primaryId)
  const derived = new Map<string, Buffer>()
  return {
    primaryId,
    has: (keyId) => keys.has(keyId),
    derive(keyId, purpose) {
      const name = `${keyId}/${purpose}`
      const known = derived.get(name)
      if (known !== undefined) return known
      const bytes = Buffer.from(hkdfSync('sha256', keyOf(keyId), '', `atv1/${purpose}`, KEY_BYTES))
      // per-owner wrap keys would grow this without bound; only fixed purposes are kept
      if (!purpose.startsWith('wrap/')) derived.set(name, bytes)
      return bytes
    },
    checkValue: (keyId) => createHmac('sha256', keyOf(keyId)).update('kcv').digest().subarray(0, 8),
  }
}

export interface StoredKey {
  readonly key_id: string
  readonly check_value: Buffer
  readonly status: 'primary' | 'decrypt' | 'disabled'
}

/**
 * Compares the configured keys with what the database remembers of them. Pure.
 * @returns the primary id and the keys to remember now
 * @throws KeyRingError naming the id and what to do, without key bytes
 */
export function checkKeys(
  keys: ReadonlyMap<string, Buffer>,
  stored: readonly StoredKey[],
): { primaryId: string; unknown: readonly string[] } {
  const first = keys.keys().next().value
  if (first === undefined)
    throw new KeyRingError('no encryption key is configured: set ENCRYPTION_KEY or ENCRYPTION_KEYS')
  for (const row of stored) {
    if (row.status === 'disabled') continue
    if (!keys.has(row.key_id))
      throw new KeyRingError(
        `encryption key "${row.key_id}" is in use in this database but not configured: restore it in ENCRYPTION_KEYS`,
      )
    const ring = openKeyRing(keys, row.key_id)
    if (!sameBytes(ring.checkValue(row.key_id), row.check_value)) {
      throw new KeyRingError(
        `encryption key "${row.key_id}" is not the key that this database was sealed with: restore the original`,
      )
    }
  }
  const primary = stored.find((row) => row.status === 'primary')?.key_id ?? first
  return {
    primaryId: primary,
    unknown: [...keys.keys()].filter((id) => !stored.some((row) => row.key_id === id)),
  }
}
