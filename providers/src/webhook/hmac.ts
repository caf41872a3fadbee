/**
 * HMAC-SHA256 over raw bytes. One spelling of a signature is accepted (lower-case hex, or padded standard
 * base64), so that a signature cannot be varied into a second valid form. Digests of equal length are compared
 * in constant time; nothing here throws for what an enemy presents.
 */
import { createHmac, hash, timingSafeEqual } from 'node:crypto'
import { Secret } from '../secret.ts'

export type SignatureEncoding = 'hex' | 'base64'

const SPELLING: Record<SignatureEncoding, RegExp> = {
  hex: /^[0-9a-f]{64}$/,
  base64: /^[A-Za-z0-9+/]{43}=$/,
}

export function isHmacSha256(
  key: Secret | Uint8Array,
  bytes: Uint8Array,
  presented: string,
  encoding: SignatureEncoding,
): boolean {
  if (!SPELLING[encoding].test(presented)) return false
  const digest = Buffer.from(presented, encoding)
  // Two base64 spellings can name one digest (unused bits of the last letter): only the canonical one counts.
  if (digest.toString(encoding) !== presented) return false
  const bytesOfKey = key instanceof Secret ? key.reveal() : key
  return timingSafeEqual(createHmac('sha256', bytesOfKey).update(bytes).digest(), digest)
}

/** For identities and cache keys, not for secrets that can be guessed. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex')
}
