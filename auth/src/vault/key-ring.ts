/**
 * The keys that wrap data keys, by id. Bytes come from the environment, their status from `auth.vault_keys`; a check
 * value for each id is stored at the first start, so that a missing, short or wrong key is found before anything is
 * written. Never generates a key, never prints one.
 */
import { createHmac, createSecretKey, hkdfSync } from 'node:crypto'
import { sameBytes } from '../platform/ids.ts'
import { KEY_BYTES } from './cipher.ts'

export class KeyRingError extends Error {
  readonly code = 'key_ring'
  readonly safe = true
}

export interface KeyRing {
  /** The key that wraps what is sealed now. It changes while the process runs: read it once for each use. */
  readonly primaryId: string
  /** Configured and not disabled. */
  has(keyId: string): boolean
  /** @returns 32 bytes for one purpose only. @throws KeyRingError for an id that is not configured, or disabled */
  derive(keyId: string, purpose: string): Buffer
}

/** What the database says of the keys. */
export interface RingState {
  readonly primaryId: string
  readonly disabledIds: readonly string[]
}

export interface FollowingKeyRing extends KeyRing {
  /** All that are configured, disabled ones too, in the order of the environment. */
  readonly keyIds: readonly string[]
  /** First 8 bytes of HMAC(key, "kcv"): tells keys apart, reveals nothing. */
  checkValue(keyId: string): Buffer
  /** @returns `lacks_primary` when the new primary is not configured here: then the earlier one stays */
  follow(state: RingState): { readonly kind: 'followed' | 'lacks_primary' }
}

/** @param keys id → 32 bytes, in the order of the environment: the first is primary at the first start */
export function openKeyRing(keys: ReadonlyMap<string, Buffer>, firstPrimaryId: string): FollowingKeyRing {
  let primaryId = firstPrimaryId
  let disabled: ReadonlySet<string> = new Set()
  const keyOf = (keyId: string): Buffer => {
    const key = keys.get(keyId)
    if (key === undefined)
      throw new KeyRingError(`encryption key "${keyId}" is not configured: add it to ENCRYPTION_KEYS`)
    return key
  }
  const usable = (keyId: string): Buffer => {
    const key = keyOf(keyId)
    if (disabled.has(keyId))
      throw new KeyRingError(`encryption key "${keyId}" is disabled, and something still names it`)
    return key
  }
  for (const [keyId, bytes] of keys) {
    if (bytes.length !== KEY_BYTES)
      throw new KeyRingError(`encryption key "${keyId}" has ${bytes.length} bytes instead of 32`)
  }
  keyOf(primaryId)
  const derived = new Map<string, Buffer>()
  return {
    get primaryId() {
      return primaryId
    },
    keyIds: [...keys.keys()],
    has: (keyId) => keys.has(keyId) && !disabled.has(keyId),
    derive(keyId, purpose) {
      const key = usable(keyId)
      const name = `${keyId}/${purpose}`
      const known = derived.get(name)
      if (known !== undefined) return known
      const bytes = Buffer.from(hkdfSync('sha256', createSecretKey(key), '', `atv1/${purpose}`, KEY_BYTES))
      // per-owner wrap keys would grow this without bound; only fixed purposes are kept
      if (!purpose.startsWith('wrap/')) derived.set(name, bytes)
      return bytes
    },
    checkValue: (keyId) => createHmac('sha256', keyOf(keyId)).update('kcv').digest().subarray(0, 8),
    follow(state) {
      disabled = new Set(state.disabledIds)
      if (!keys.has(state.primaryId)) return { kind: 'lacks_primary' }
      primaryId = state.primaryId
      return { kind: 'followed' }
    },
  }
}

export interface StoredKey {
  readonly key_id: string
  readonly check_value: Buffer
  readonly status: 'primary' | 'decrypt' | 'disabled'
  /** null: it never sealed anything. */
  readonly first_primary_at: Date | null
}

/**
 * Compares the configured keys with what the database remembers of them. Pure.
 * @returns the state of the ring and the keys to remember now
 * @throws KeyRingError naming the id and what to do, without key bytes
 */
export function checkKeys(
  keys: ReadonlyMap<string, Buffer>,
  stored: readonly StoredKey[],
): RingState & { readonly unknownIds: readonly string[] } {
  const first = keys.keys().next().value
  if (first === undefined)
    throw new KeyRingError('no encryption key is configured: set ENCRYPTION_KEY or ENCRYPTION_KEYS')
  for (const row of stored) {
    if (row.status === 'disabled') continue
    if (!keys.has(row.key_id)) {
      // added and never promoted: it sealed nothing, and taking it out of the environment again is allowed
      if (row.first_primary_at === null) continue
      throw new KeyRingError(
        `encryption key "${row.key_id}" is in use in this database but not configured: restore it in ENCRYPTION_KEYS`,
      )
    }
    if (!sameBytes(openKeyRing(keys, row.key_id).checkValue(row.key_id), row.check_value)) {
      throw new KeyRingError(
        `encryption key "${row.key_id}" is not the key that this database was sealed with: restore the original`,
      )
    }
  }
  return {
    ...ringState(stored, first),
    unknownIds: [...keys.keys()].filter((id) => !stored.some((row) => row.key_id === id)),
  }
}

/** @param first the primary of a database that has none yet */
export function ringState(stored: readonly Pick<StoredKey, 'key_id' | 'status'>[], first: string): RingState {
  return {
    primaryId: stored.find((row) => row.status === 'primary')?.key_id ?? first,
    disabledIds: stored.filter((row) => row.status === 'disabled').map((row) => row.key_id),
  }
}
