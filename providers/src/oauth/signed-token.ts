/**
 * Checks the signature and the times of a JWT (RFC 7519) with `jose`: RS256 only, a `kid` that the key set knows,
 * `exp` and `iat` present, one minute of clock skew. It tells "not genuine" from "cannot be judged now". Who
 * issued it and for whom is the caller's question. Header members that name keys (`jwk`, `jku`, `x5u`) are ignored.
 */
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import type { KeySet } from './keys.ts'

export const CLOCK_SKEW_SECONDS = 60
/** Real tokens have 1 to 4 KiB. */
const TOKEN_LIMIT = 16 * 1024

export type SignedTokenVerdict =
  | {
      readonly kind: 'genuine'
      readonly claims: JWTPayload
      readonly expiresAtSeconds: number
      /** The `issuer` member of the key that signed, if the key set carries one. */
      readonly keyIssuer: string | undefined
    }
  /** `unknown_key` may be one that was published since the keys were asked for, up to 30 s ago. */
  | { readonly kind: 'bad'; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string }

export async function verifySignedToken(
  keys: KeySet,
  token: string,
  now: Date,
  signal: AbortSignal,
  /** Security event tokens (RFC 8417 §2.2) have no `exp`; everything else must. */
  rule: { readonly expires: boolean } = { expires: true },
): Promise<SignedTokenVerdict> {
  const kid = kidOf(token)
  if (kid.kind === 'bad') return kid
  const found = await keys.find(kid.value, signal)
  if (found.kind === 'unavailable') return { kind: 'unavailable', reason: 'keys_unreachable' }
  if (found.kind === 'unknown') return { kind: 'bad', reason: 'unknown_key' }
  try {
    const { payload } = await jwtVerify(token, found.key, {
      algorithms: ['RS256'],
      currentDate: now,
      clockTolerance: CLOCK_SKEW_SECONDS,
      requiredClaims: rule.expires ? ['exp', 'iat'] : ['iat'],
    })
    const { exp, iat } = payload
    if ((rule.expires && exp === undefined) || iat === undefined)
      return { kind: 'bad', reason: 'malformed_token' }
    if (iat > now.getTime() / 1000 + CLOCK_SKEW_SECONDS) return { kind: 'bad', reason: 'token_of_the_future' }
    return { kind: 'genuine', claims: payload, expiresAtSeconds: exp ?? iat, keyIssuer: found.issuer }
  } catch (error) {
    return { kind: 'bad', reason: reasonOf(error) }
  }
}

function kidOf(token: string): { kind: 'kid'; value: string } | { kind: 'bad'; reason: string } {
  if (token.length > TOKEN_LIMIT) return { kind: 'bad', reason: 'malformed_token' }
  try {
    const header = decodeProtectedHeader(token)
    if (header.alg !== 'RS256') return { kind: 'bad', reason: 'wrong_algorithm' }
    if (typeof header.kid !== 'string' || header.kid === '' || header.kid.length > 256) {
      return { kind: 'bad', reason: 'bad_key_id' }
    }
    return { kind: 'kid', value: header.kid }
  } catch {
    return { kind: 'bad', reason: 'malformed_token' }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'expired_token'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature'
  if (error instanceof errors.JWTClaimValidationFailed) return 'bad_time'
  return 'malformed_token'
}
