/**
 * Authorization codes: bound to one client, redirect URI, challenge and account, good once and for ten
 * minutes (RFC 6749 §4.1.2, RFC 7636). It never hands out the grant of a code that was redeemed.
 */
import { createHash, timingSafeEqual } from 'node:crypto'

export const codeLifetimeMs = 600_000

export interface Challenge {
  method: 'S256' | 'plain'
  value: string
}

export interface CodeGrant {
  account: string
  clientId: string
  redirectUri: string
  /** Microsoft binds a code to the tenant segment it was asked at; Google has none. */
  tenant: string
  scopes: readonly string[]
  nonce: string | null
  challenge: Challenge | null
  /** Whether the account's refresh token is due (`offline_access`, or `access_type=offline` with consent). */
  offline: boolean
}

export type CodeLookup =
  | { kind: 'live'; grant: CodeGrant; redeem(): void }
  | { kind: 'unknown' | 'expired' | 'redeemed' }

export interface CodeStore {
  issue(grant: CodeGrant): string
  find(code: string): CodeLookup
}

export function createCodeStore(mint: () => string, now: () => number): CodeStore {
  const codes = new Map<string, { grant: CodeGrant; expiresAt: number; redeemed: boolean }>()
  return {
    issue(grant) {
      const code = mint()
      codes.set(code, { grant, expiresAt: now() + codeLifetimeMs, redeemed: false })
      return code
    },
    find(code) {
      const entry = codes.get(code)
      if (entry === undefined) return { kind: 'unknown' }
      if (entry.redeemed) return { kind: 'redeemed' }
      if (entry.expiresAt <= now()) return { kind: 'expired' }
      return {
        kind: 'live',
        grant: entry.grant,
        redeem: () => {
          entry.redeemed = true
        },
      }
    },
  }
}

/**
 * The challenge of an authorization request, RFC 7636 §4.3: `plain` is meant when no method is named.
 * `null` means none was sent, `'malformed'` a wrong one.
 */
export function readChallenge(
  value: string | undefined,
  method: string | undefined,
): Challenge | null | 'malformed' {
  if (value === undefined) return method === undefined ? null : 'malformed'
  const named = method ?? 'plain'
  if (named !== 'S256' && named !== 'plain') return 'malformed'
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(value)) return 'malformed'
  return { method: named, value }
}

export type ProofVerdict = 'proven' | 'missing' | 'wrong' | 'unexpected'

/** RFC 7636 §4.6; a verifier without a challenge is a downgrade and refused (RFC 9700 §2.1.1). */
export function checkProof(challenge: Challenge | null, verifier: string | undefined): ProofVerdict {
  if (challenge === null) return verifier === undefined ? 'proven' : 'unexpected'
  if (verifier === undefined) return 'missing'
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) return 'wrong'
  const derived =
    challenge.method === 'S256' ? createHash('sha256').update(verifier).digest('base64url') : verifier
  return sameText(derived, challenge.value) ? 'proven' : 'wrong'
}

/** Compares two texts in a time that does not depend on where they differ. */
export function sameText(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
