/**
 * Reads an access token that callers can rely on: what is stored while it is valid for the asked time; near expiry it is
 * refreshed, once for all callers of all processes: those of one process share one wait, one process takes the lease of
 * the due row, the others watch the row for a bounded time. While the provider is down, a token that is still valid at
 * all is served with its real expiry. Never returns a refresh token.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { type AuditGroup, openAuditGroup } from '../audit/audit-group.ts'
import { ALL_CONNECTIONS, type ConnectionScope } from '../db/connection-scope.ts'
import { REFRESH_LEASE_SECONDS, type RefreshNeeds, type RefreshResult, refresh } from './refresh.ts'
import { findRefreshState, releaseRefresh, takeRefresh } from './refresh-store.ts'
import { openSealedTokens } from './sealed-token-store.ts'
import { findConnectionsOf } from './store.ts'
import { accessToken, type ReadableToken, type TokenOutcome } from './token.ts'

export type TokenRead =
  | Exclude<TokenOutcome, { kind: 'expired' }>
  /** Not now: the provider or the wait for it failed, and no valid token is left. */
  | { readonly kind: 'unavailable'; readonly retryAfterSeconds: number }

export interface TokenReader {
  /** @param minValidSeconds how long the token should still be valid */
  read(connectionId: string, minValidSeconds: number, scope?: ConnectionScope): Promise<TokenRead>
  /**
   * For a token that the provider refused although its time is not over: refreshed, once, unless it is another one by
   * now. @returns the same version when nothing newer can be had
   */
  renewRejected(
    connectionId: string,
    rejected: { readonly provider: string; readonly version: number },
    scope: ConnectionScope,
  ): Promise<TokenRead>
  /** The same for a caller of the API, within its scope, audited before the token leaves. */
  readFor(caller: TokenCaller, connectionId: string, minValidSeconds: number): Promise<TokenRead>
  /** Ids of the user's connections at the provider within the scope, those that ended left out. */
  connectionsOf(scope: ConnectionScope, userId: string, provider: string): Promise<string[]>
}

export interface TokenCaller {
  /** As in the audit trail: `service`, `caller:<name>`. */
  readonly actor: string
  readonly scope: ConnectionScope
  /** What it says the token is for. */
  readonly purpose?: string | undefined
}

/** Longer than a request and its commit, shorter than the patience of callers. A lease that outlives it is answered 503. */
const WATCH_MS = 12_000
const FIRST_POLL_MS = 25
const SLOWEST_POLL_MS = 250
const ADMIT_MS = 4_000

export function openTokenReader(parts: RefreshNeeds): TokenReader {
  const needs = { ...parts, sealed: openSealedTokens(parts.db) }
  const shared = new Map<string, Promise<RefreshResult>>()
  const audits = openAuditGroup(needs.db)

  function renewOnce(connectionId: string, stale: Stale): Promise<RefreshResult> {
    const running = shared.get(connectionId)
    if (running !== undefined) return running
    const started = renew(needs, connectionId, stale).finally(() => shared.delete(connectionId))
    shared.set(connectionId, started)
    return started
  }

  async function read(
    connectionId: string,
    minValidSeconds: number,
    scope: ConnectionScope = ALL_CONNECTIONS,
  ): Promise<TokenRead> {
    const stored = await accessToken(needs, connectionId, minValidSeconds, scope)
    if (stored.kind !== 'expired') return stored
    const result = await renewOnce(connectionId, stored)
    const now = await accessToken(needs, connectionId, minValidSeconds)
    if (now.kind !== 'expired') return now
    if (now.stillValid !== undefined) return now.stillValid
    const inSeconds = result.kind === 'later' ? result.inSeconds : 1
    return { kind: 'unavailable', retryAfterSeconds: Math.max(1, Math.ceil(inSeconds)) }
  }

  return {
    read,
    async renewRejected(connectionId, { provider, version }, scope) {
      const now = await accessToken(needs, connectionId, 0, scope)
      if (now.kind === 'token' && now.version === version)
        await renewOnce(connectionId, { kind: 'expired', provider, version, stillValid: undefined })
      return read(connectionId, 0, scope)
    },
    async readFor(caller, connectionId, minValidSeconds) {
      const token = await read(connectionId, minValidSeconds, caller.scope)
      if (token.kind === 'token') await auditRead(audits, caller, connectionId, token)
      return token
    },
    connectionsOf: async (scope, userId, provider) =>
      (await findConnectionsOf(needs.db, { userId, provider }, scope)).map(({ id }) => id),
  }
}

type Stale = Extract<TokenOutcome, { kind: 'expired' }>

/** Refreshes, or waits until whoever does has finished. */
async function renew(needs: RefreshNeeds, connectionId: string, stale: Stale): Promise<RefreshResult> {
  const until = needs.monotonicMs() + WATCH_MS
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(SLOWEST_POLL_MS, pollMs * 2)) {
    const heldSeconds = await needs.pace.heldSeconds(stale.provider)
    if (heldSeconds > 0) return { kind: 'later', inSeconds: heldSeconds }
    const held = { id: connectionId, lease_id: randomUUID(), leasedMs: needs.monotonicMs() }
    const wanted = { id: connectionId, version: stale.version, leaseId: held.lease_id }
    if (await takeRefresh(needs.db, { ...wanted, seconds: REFRESH_LEASE_SECONDS })) {
      // Taking it may have waited for who had it before, and judged the version as it was then: looked at again, now
      // that nobody else can change it.
      const seen = await findRefreshState(needs.db, connectionId)
      if (seen !== undefined && seen.version !== stale.version) {
        await releaseRefresh(needs.db, held)
        return { kind: 'changed' }
      }
      const place = await needs.limits.admit(stale.provider, ADMIT_MS)
      if (place === undefined) {
        await releaseRefresh(needs.db, held)
        return { kind: 'later', inSeconds: 1 }
      }
      try {
        return await refresh(needs, held)
      } finally {
        place.end()
      }
    }
    const state = await findRefreshState(needs.db, connectionId)
    if (state === undefined || state.version !== stale.version) return { kind: 'changed' }
    if (state.status !== 'active' && state.status !== 'partial') return { kind: 'changed' }
    if (state.waiting_seconds > 0) return { kind: 'later', inSeconds: state.waiting_seconds }
    if (needs.monotonicMs() >= until) return { kind: 'later', inSeconds: state.leased_seconds }
    await pause(pollMs * (0.5 + needs.random()))
  }
}

/** Many reads share one commit; none leaves before its own. */
const auditRead = (audits: AuditGroup, caller: TokenCaller, connectionId: string, token: ReadableToken) =>
  audits.add({
    actor: caller.actor,
    action: 'token.read',
    subject: connectionId,
    detail: {
      provider: token.provider,
      expires_at: token.expiresAt.toISOString(),
      purpose: caller.purpose ?? null,
    },
  })
