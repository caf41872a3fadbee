/**
 * Sealed secrets. Each row that holds secrets has its own data key; the data key is wrapped by a key of the ring, and
 * every ciphertext is bound to its purpose, owner, row, provider and column. Wiping the wrapped data key destroys all
 * secrets of the row. Formats: `atv1.<key id>.<nonce‖sealed key>` and `atv1.<nonce>.<sealed>`, base64url. A value of
 * another version or an unknown key id is an error, never a guess.
 */
import { randomBytes } from 'node:crypto'
import { Secret } from '@flovify/providers'
import {
  contextBytes,
  decrypt,
  encrypt,
  KEY_BYTES,
  NONCE_BYTES,
  TAG_BYTES,
  VaultIntegrityError,
} from './cipher.ts'
import type { KeyRing } from './key-ring.ts'
import type { Purpose } from './sealed-tables.ts'

export { VaultIntegrityError } from './cipher.ts'

/** A wrapped data key as it stands in a `data_key` column. */
export type WrappedKey = string & { readonly wrapped: true }

export interface KeyContext {
  readonly purpose: Purpose
  /** owner_id, or '' where nobody owns the row */
  readonly owner: string
  /** id of the row */
  readonly row: string
  /** provider id, or '' */
  readonly provider: string
}

export interface SealingKey {
  /** @param column of the row, e.g. `access_token`: part of what the value is bound to */
  seal(column: string, plain: Secret): string
  /** @throws VaultIntegrityError */
  unseal(column: string, sealed: string): Secret
}

export interface Vault {
  newDataKey(context: KeyContext): WrappedKey
  /** @throws VaultIntegrityError when the key was swapped or changed; KeyRingError when its ring key is not configured */
  open(wrapped: string, context: KeyContext): SealingKey
  /** The same data key under the primary key: what it sealed stays as it is. @throws as `open` */
  rewrap(wrapped: string, context: KeyContext): WrappedKey
}

const VERSION = 'atv1'
const WRAP_VERSION = 'atv1w'
const ALGORITHM = 'A256GCM'

export function openVault(ring: KeyRing): Vault {
  const wrap = (dataKey: Buffer, context: KeyContext) => {
    const keyId = ring.primaryId
    const wrapKey = ring.derive(keyId, `wrap/${context.owner}`)
    const { nonce, sealed } = encrypt(wrapKey, dataKey, wrapContext(keyId, context))
    return `${VERSION}.${keyId}.${Buffer.concat([nonce, sealed]).toString('base64url')}` as WrappedKey
  }
  const unwrap = (wrapped: string, context: KeyContext) => {
    const [keyId, bytes] = readParts(wrapped)
    const packed = decode(bytes)
    if (packed.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES)
      throw new VaultIntegrityError('a wrapped data key has the wrong length')
    const wrapKey = ring.derive(keyId, `wrap/${context.owner}`)
    return decrypt(
      wrapKey,
      packed.subarray(0, NONCE_BYTES),
      packed.subarray(NONCE_BYTES),
      wrapContext(keyId, context),
    )
  }
  return {
    newDataKey: (context) => wrap(randomBytes(KEY_BYTES), context),
    open: (wrapped, context) => sealingKey(unwrap(wrapped, context), context),
    rewrap: (wrapped, context) => wrap(unwrap(wrapped, context), context),
  }
}

function sealingKey(dataKey: Buffer, context: KeyContext): SealingKey {
  const bound = (column: string) =>
    contextBytes([
      VERSION,
      `${context.purpose}.${column}`,
      context.owner,
      context.row,
      context.provider,
      ALGORITHM,
    ])
  return {
    seal(column, plain) {
      const { nonce, sealed } = encrypt(dataKey, Buffer.from(plain.reveal(), 'utf8'), bound(column))
      return `${VERSION}.${nonce.toString('base64url')}.${sealed.toString('base64url')}`
    },
    unseal(column, text) {
      const [nonce, sealed] = readParts(text)
      return new Secret(decrypt(dataKey, decode(nonce), decode(sealed), bound(column)).toString('utf8'))
    },
  }
}

const wrapContext = (keyId: string, context: KeyContext) =>
  contextBytes([WRAP_VERSION, keyId, context.purpose, context.owner, context.row, context.provider])

function readParts(text: string): [string, string] {
  const parts = text.split('.')
  const [version, first, second] = parts
  if (parts.length !== 3 || version !== VERSION || first === undefined || second === undefined) {
    throw new VaultIntegrityError('a sealed value has an unknown form')
  }
  return [first, second]
}

/** Strict base64url: what does not encode back to itself was not written by us. */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text) throw new VaultIntegrityError('a sealed value is not base64url')
  return bytes
}
