/**
 * Judges the bearer JWT of a push against a key set: RS256 only, issuer, audience and times checked, and whatever
 * else the provider's own rule asks. The verdict is total. Verified tokens are remembered by hash until they
 * expire (one token may serve many messages); a failed token is never remembered.
 */
import { createHash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { KeySet } from '../oauth/keys.ts'
import { CLOCK_SKEW_SECONDS, verifySignedToken } from '../oauth/signed-token.ts'
import type { NotificationRequest } from '../provider.ts'
import { singleHeader } from './headers.ts'

export type BearerVerdict =
  | { readonly kind: 'genuine' }
  | { readonly kind: 'rejected'; readonly reason: string; readonly status?: 400 }
  | { readonly kind: 'unavailable'; readonly reason: string }

export interface BearerRule {
  readonly keys: KeySet
  readonly now: () => Date
  /** @returns the reason why these claims are not the expected ones, or undefined. */
  readonly objection: (claims: JWTPayload) => string | undefined
  /** How long a push may wait for keys, in milliseconds; the provider repeats it after a 503. */
  readonly patienceMs: number
}

export type BearerJudge = (request: NotificationRequest) => Promise<BearerVerdict>

const REMEMBERED_LIMIT = 1000
const BEARER = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/

export function bearerJudge(rule: BearerRule): BearerJudge {
  const expiries = new Map<string, number>()
  return async (request) => {
    const header = singleHeader(request, 'authorization')
    if (header.kind === 'absent') return { kind: 'rejected', reason: 'no_token' }
    if (header.kind === 'several') return { kind: 'rejected', reason: 'duplicate_token', status: 400 }
    const token = BEARER.exec(header.value)?.[1]
    if (token === undefined) return { kind: 'rejected', reason: 'malformed_token' }

    const hash = createHash('sha256').update(token).digest('base64')
    const expiry = expiries.get(hash)
    if (expiry !== undefined) {
      if (rule.now().getTime() / 1000 < expiry + CLOCK_SKEW_SECONDS) return { kind: 'genuine' }
      expiries.delete(hash)
      return { kind: 'rejected', reason: 'expired_token' }
    }

    const verdict = await verifySignedToken(
      rule.keys,
      token,
      rule.now(),
      AbortSignal.timeout(rule.patienceMs),
    )
    if (verdict.kind === 'unavailable') return verdict
    if (verdict.kind === 'bad') return { kind: 'rejected', reason: verdict.reason }
    const objection = rule.objection(verdict.claims)
    if (objection !== undefined) return { kind: 'rejected', reason: objection }
    remember(expiries, hash, verdict.expiresAtSeconds)
    return { kind: 'genuine' }
  }
}

/** Maps keep insertion order, so the first key is the oldest. */
function remember(expiries: Map<string, number>, hash: string, expiry: number): void {
  if (expiries.size >= REMEMBERED_LIMIT) {
    const oldest = expiries.keys().next()
    if (!oldest.done) expiries.delete(oldest.value)
  }
  expiries.set(hash, expiry)
}
