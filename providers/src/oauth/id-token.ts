/**
 * Validates the id token of a code exchange (OpenID Connect Core §3.1.3.7) before any token of the same answer is
 * used: signature, issuer, audience, times, nonce. The issuer rule is the provider's own, because an
 * issuer may be a template. It never returns claims of a token that failed.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { Failure } from '../provider.ts'
import type { Secret } from '../secret.ts'
import type { KeySet } from './keys.ts'
import { verifySignedToken } from './signed-token.ts'

export interface IdTokenRule {
  readonly keys: KeySet
  readonly clientId: string
  /** @param keyIssuer the issuer that the key set allows the signing key to speak for, if it says. */
  readonly isIssuer: (claims: JWTPayload, keyIssuer: string | undefined) => boolean
}

export type IdTokenVerdict =
  | { readonly kind: 'valid'; readonly claims: JWTPayload }
  | { readonly kind: 'failed'; readonly failure: Failure }

export async function validateIdToken(
  rule: IdTokenRule,
  idToken: Secret | undefined,
  expected: { readonly nonce: Secret; readonly now: Date; readonly signal: AbortSignal },
): Promise<IdTokenVerdict> {
  if (idToken === undefined) return refused('missing')
  const verdict = await verifySignedToken(rule.keys, idToken.reveal(), expected.now, expected.signal)
  if (verdict.kind === 'unavailable') {
    return { kind: 'failed', failure: { class: 'transient', code: verdict.reason } }
  }
  if (verdict.kind === 'bad') return refused(verdict.reason)
  const { claims, keyIssuer } = verdict
  if (!rule.isIssuer(claims, keyIssuer)) return refused('wrong_issuer')
  // One audience, as text: both providers send it so, and a list would let a token for another client in as well.
  if (claims.aud !== rule.clientId) return refused('wrong_audience')
  if (typeof claims.nonce !== 'string' || !sameText(claims.nonce, expected.nonce.reveal()))
    return refused('wrong_nonce')
  return { kind: 'valid', claims }
}

/** `permanent`: this code must not be redeemed again. No connection exists yet that could be marked. */
function refused(reason: string): IdTokenVerdict {
  return { kind: 'failed', failure: { class: 'permanent', code: `id_token_${reason}` } }
}

function sameText(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
