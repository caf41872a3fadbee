/**
 * Judges the platform's own `session` JWT. One fixed list of algorithms for the configured kind of key, one issuer, one
 * audience; `exp` is required; a `crit` header is refused; keys come from the configuration only, so that `jwk`, `jku`,
 * `x5u` and `x5c` in a header change nothing. Sources: RFC 7519 §4.1, RFC 7515 §4.1.11, RFC 8725 §3.
 */
import type { Secret } from '@flovify/providers'
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import type { Clock } from '../platform/clock.ts'
import { openSessionKeys, SessionKeysUnavailable } from './session-keys.ts'
import type { Role } from './session-store.ts'

export interface PlatformJwtSettings {
  /** HS256, at least 32 bytes */
  readonly secret?: Secret
  /** RS256, ES256, EdDSA */
  readonly jwksUrl?: string
  readonly issuer: string
  readonly audience: string
  readonly userClaim: string
  /** `name` (must be true) or `name=value`; absent: nobody becomes admin by the JWT */
  readonly adminClaim?: string
}

export interface PlatformJwtNeeds {
  readonly fetch: typeof fetch
  readonly clock: Clock
}

export type PlatformJwtVerdict =
  | { readonly kind: 'valid'; readonly userId: string; readonly role: Role; readonly expiresAt: Date }
  | { readonly kind: 'invalid' }
  | { readonly kind: 'unavailable' }

export type PlatformJwtJudge = (token: string) => Promise<PlatformJwtVerdict>

const TOKEN_LIMIT = 8 * 1024
const CLOCK_SKEW_SECONDS = 5
/** ECMAScript's last date; a later `exp` is no date at all. */
const LAST_DATE_MS = 8.64e15
const INVALID = { kind: 'invalid' } as const

/** @throws when neither or both kinds of key are configured, or the secret is too short: a fault of the caller */
export function openPlatformJwt(needs: PlatformJwtNeeds, settings: PlatformJwtSettings): PlatformJwtJudge {
  const verify = verifierFor(needs, settings)
  return async (token) => {
    if (token.length > TOKEN_LIMIT || !isPlainJwt(token)) return INVALID
    let claims: JWTPayload
    try {
      claims = await verify(token)
    } catch (error) {
      if (error instanceof SessionKeysUnavailable) return { kind: 'unavailable' }
      if (error instanceof errors.JOSEError) return INVALID
      throw error
    }
    const userId = userOf(claims, settings.userClaim)
    if (userId === undefined || claims.exp === undefined) return INVALID
    return {
      kind: 'valid',
      userId,
      role: isAdmin(claims, settings.adminClaim) ? 'admin' : 'user',
      expiresAt: new Date(Math.min(claims.exp * 1000, LAST_DATE_MS)),
    }
  }
}

function verifierFor(
  needs: PlatformJwtNeeds,
  settings: PlatformJwtSettings,
): (token: string) => Promise<JWTPayload> {
  const checks = (algorithms: string[]) => ({
    algorithms,
    issuer: settings.issuer,
    audience: settings.audience,
    requiredClaims: ['exp'],
    clockTolerance: CLOCK_SKEW_SECONDS,
    currentDate: needs.clock.now(),
  })
  if (settings.secret !== undefined && settings.jwksUrl === undefined) {
    const secret = Buffer.from(settings.secret.reveal(), 'utf8')
    if (secret.length < 32) throw misconfigured('SESSION_SECRET is shorter than 32 bytes')
    return async (token) => (await jwtVerify(token, secret, checks(['HS256']))).payload
  }
  if (settings.jwksUrl !== undefined && settings.secret === undefined) {
    const keys = openSessionKeys(needs.fetch, settings.jwksUrl)
    return async (token) =>
      (await jwtVerify(token, keys, checks(['RS256', 'ES256', 'EdDSA', 'Ed25519']))).payload
  }
  throw misconfigured('exactly one of SESSION_SECRET and SESSION_JWKS_URL must be set')
}

const misconfigured = (message: string) =>
  Object.assign(new Error(message), { code: 'platform_jwt_settings', safe: true })

/** A JWT and nothing special: `typ` is JWT or absent (RFC 8725 §3.11), no critical extensions. */
function isPlainJwt(token: string): boolean {
  try {
    const { typ, crit } = decodeProtectedHeader(token)
    return (
      crit === undefined && (typ === undefined || (typeof typ === 'string' && typ.toUpperCase() === 'JWT'))
    )
  } catch {
    return false
  }
}

function userOf(claims: JWTPayload, claim: string): string | undefined {
  const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  // integer or uuid ids, as `auth.users` has them
  return typeof text === 'string' && /^[A-Za-z0-9-]{1,64}$/.test(text) ? text : undefined
}

/** Exactly `true`, or exactly the value, alone or in a list. Nothing that merely looks true. */
function isAdmin(claims: JWTPayload, adminClaim: string | undefined): boolean {
  if (adminClaim === undefined) return false
  const at = adminClaim.indexOf('=')
  const name = at === -1 ? adminClaim : adminClaim.slice(0, at)
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined
  if (at === -1) return value === true
  const wanted = adminClaim.slice(at + 1)
  return value === wanted || (Array.isArray(value) && value.includes(wanted))
}
