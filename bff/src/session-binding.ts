/**
 * The binding between a flow and the session that began it: an HMAC of the session family under a key that is derived
 * from the service secret. It survives a rotated session token and dies with the family. Reads no token, keeps nothing.
 * Source: security.md §2.2; RFC 5869 (HKDF), RFC 2104 (HMAC).
 */
import { createHmac, hkdfSync } from 'node:crypto'

const INFO = 'flovify/session-binding/v1'

/** @returns base64url of 32 bytes */
export function sessionBinding(serviceSecret: string, familyId: string): string {
  const key = Buffer.from(hkdfSync('sha256', serviceSecret, '', INFO, 32))
  return createHmac('sha256', key).update(familyId).digest('base64url')
}
