/**
 * One refresh by whoever holds the lease of its due row (RFC 6749 §6): open, ask the provider once, write. The request's
 * deadline is shorter than the lease and no transaction is open meanwhile. What comes back is written by compare-and-set
 * on the version of the tokens it was made from; an answer without a refresh token keeps the stored one. A row that
 * cannot be opened ends only that connection and the provider is not asked. Never logs or returns a token.
 *
 * Lost answers: when the process dies between answer and commit, the row stays with the earlier refresh token until the
 * lease has passed. Google does not rotate and Microsoft leaves the earlier token valid (protocols/google.md §1.5,
 * microsoft.md §1.5), so the next refresh works; a provider that rotates strictly answers `invalid_grant`, once.
 */
import type { Failure, Provider, RefreshOutcome, Secret, TokenSet } from '@flovify/providers'
import type { Database } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { withDeadline } from '../platform/deadline.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { type SealingKey, type Vault, VaultIntegrityError } from '../vault/vault.ts'
import { words } from './complete.ts'
import { type FailureReport, settleEnding, settleFailure } from './refresh-failure.ts'
import type { RefreshLimits } from './refresh-limits.ts'
import type { RefreshPace, RefreshTurn } from './refresh-pace.ts'
import {
  deferRefresh,
  dropEnded,
  findToRefresh,
  type RefreshLease,
  releaseRefresh,
  scheduleRefresh,
  type TokensToRefresh,
} from './refresh-store.ts'
import { lockConnection, replaceTokens } from './store.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'
import { isLegal, recordRefreshed } from './transition.ts'

export interface RefreshNeeds {
  readonly subscriptions: Pick<SubscriptionsOfConnections, 'subscribe' | 'changed'>
  readonly db: Database
  readonly vault: Vault
  readonly ledger: Pick<Ledger, 'record'>
  readonly provider: (id: string) => Provider | undefined
  readonly limits: RefreshLimits
  readonly pace: RefreshPace
  readonly report: FailureReport
  readonly metrics: Metrics
  readonly log: Log
  readonly random: () => number
  readonly monotonicMs: () => number
}

export interface HeldRefresh extends RefreshLease {
  /** Monotonic, before the lease was asked for. */
  readonly leasedMs: number
}

export type RefreshResult =
  /** The row is another one than before, by us or by somebody else: read it. */
  { readonly kind: 'changed' } | { readonly kind: 'later'; readonly inSeconds: number }

export const REFRESH_MS = 10_000
export const REFRESH_LEASE_SECONDS = 30
/** After this long the rest of the lease is too short for a request and its commit: somebody else may have begun. */
const LATEST_BEGIN_MS = REFRESH_LEASE_SECONDS * 1000 - REFRESH_MS - 5_000
const NO_SCOPES_OF_AN_API: ReadonlySet<string> = new Set(['openid', 'offline_access'])

/** @param turn of the claim; a reader has none yet */
export async function refresh(
  needs: RefreshNeeds,
  held: HeldRefresh,
  turn?: RefreshTurn,
  outer?: AbortSignal,
): Promise<RefreshResult> {
  const row = await findToRefresh(needs.db, held)
  if (row === undefined) {
    await dropEnded(needs.db, held)
    return { kind: 'changed' }
  }
  const provider = needs.provider(row.provider)
  if (provider === undefined) return later(needs, held, 300)
  const opened = openTokens(needs, row)
  if (opened === undefined)
    return settleEnding(needs, held, row, { to: 'vault_error', reason: 'vault_error' })
  if (opened === 'locked') return later(needs, held, 60)
  if (opened.refreshToken === undefined)
    return row.left_seconds > 0
      ? later(needs, held, row.left_seconds)
      : settleEnding(needs, held, row, { to: 'reauth_required', reason: 'no_refresh_token' })
  const begun = await needs.pace.begin(row.provider, turn, outer)
  if (begun.kind === 'later' || needs.monotonicMs() - held.leasedMs > LATEST_BEGIN_MS) {
    await releaseRefresh(needs.db, held)
    return begun.kind === 'later' ? begun : { kind: 'later', inSeconds: 1 }
  }
  const outcome = await ask(needs, provider, row, opened.refreshToken, outer)
  // the lease is lost or the process ends: whoever has the row next decides
  if (outcome === undefined) return { kind: 'later', inSeconds: 1 }
  if (outcome.kind === 'failed') {
    needs.metrics.refreshes(row.provider, 'failed')
    return settleFailure(needs, held, row, outcome.failure, begun.turn)
  }
  needs.metrics.refreshes(row.provider, 'succeeded')
  await writeRefreshed(needs, held, row, opened.key, outcome.tokens)
  await needs.pace.answered(row.provider, begun.turn, true)
  return { kind: 'changed' }
}

async function later(needs: RefreshNeeds, held: HeldRefresh, inSeconds: number): Promise<RefreshResult> {
  await deferRefresh(needs.db, held, inSeconds)
  return { kind: 'later', inSeconds }
}

/** @returns undefined when the row was changed by another hand, `locked` while a key of the ring is missing */
function openTokens(
  needs: RefreshNeeds,
  row: TokensToRefresh,
): { key: SealingKey; refreshToken: Secret | undefined } | 'locked' | undefined {
  try {
    if (row.data_key === null) return undefined
    const context = {
      purpose: 'oauth_tokens',
      owner: row.owner_id,
      row: row.id,
      provider: row.provider,
    } as const
    const key = needs.vault.open(row.data_key, context)
    return {
      key,
      refreshToken: row.refresh_token === null ? undefined : key.unseal('refresh_token', row.refresh_token),
    }
  } catch (error) {
    const fields = { connection: row.id, provider: row.provider, ...errorFields(error) }
    if (error instanceof VaultIntegrityError) {
      needs.log.error(fields, 'a stored token cannot be opened: the row was changed')
      return undefined
    }
    needs.log.error(fields, 'a stored token cannot be opened now; it is tried again')
    return 'locked'
  }
}

async function ask(
  needs: RefreshNeeds,
  provider: Provider,
  row: TokensToRefresh,
  refreshToken: Secret,
  outer: AbortSignal | undefined,
): Promise<RefreshOutcome | undefined> {
  try {
    const inTime = await withDeadline(REFRESH_MS, outer, (signal) =>
      provider.oauth.refresh({ refreshToken, scopes: words(row.scope), signal }),
    )
    if (inTime.kind === 'answered' && !(outer?.aborted === true && inTime.value.kind === 'failed'))
      return inTime.value
    return outer?.aborted === true ? undefined : failed('timeout')
  } catch (error) {
    needs.log.error(
      { provider: row.provider, connection: row.id, ...errorFields(error) },
      'a refresh call broke',
    )
    return failed('refresh_broke')
  }
}

const failed = (code: string): { kind: 'failed'; failure: Failure } => ({
  kind: 'failed',
  failure: { class: 'transient', code },
})

async function writeRefreshed(
  needs: RefreshNeeds,
  held: HeldRefresh,
  row: TokensToRefresh,
  key: SealingKey,
  tokens: TokenSet,
): Promise<void> {
  const answered = new Set(tokens.grantedScopes)
  const before = words(row.scope)
  // RFC 6749 §6: a refresh never grants more. That it worked proves what is no permission of an API.
  const removed = before.filter((scope) => !answered.has(scope) && !NO_SCOPES_OF_AN_API.has(scope))
  const granted = before.filter((scope) => !removed.includes(scope))
  const written = await needs.db.transaction(async (tx) => {
    const now = await lockConnection(tx, row.id)
    const missing = words(now?.scope_requested ?? '').filter((scope) => !granted.includes(scope))
    const status = missing.length === 0 ? 'active' : 'partial'
    if (
      now === undefined ||
      (now.status !== status && !isLegal(now.status, status)) ||
      !(await replaceTokens(tx, {
        id: row.id,
        version: row.version,
        accessToken: key.seal('access_token', tokens.accessToken),
        refreshToken:
          tokens.refreshToken === undefined ? null : key.seal('refresh_token', tokens.refreshToken),
        expiresAt: tokens.expiresAt,
        scope: granted.join(' '),
        status,
        statusReason: missing.length === 0 ? null : 'scopes_missing',
      }))
    ) {
      // reconnected, disconnected or refreshed meanwhile: what is there is newer
      await releaseRefresh(tx, held)
      return false
    }
    await scheduleRefresh(tx, { ...row, expiresAt: tokens.expiresAt, hasRefreshToken: true })
    await recordRefreshed(needs, tx, now, { status, granted, removed })
    // what needs a scope that is gone is not subscribed any more
    if (removed.length > 0)
      await needs.subscriptions.subscribe(tx, {
        id: row.id,
        provider: row.provider,
        grantedScopes: granted,
        fresh: false,
      })
    return true
  })
  if (written && removed.length > 0) needs.subscriptions.changed(row.id)
  if (!written)
    needs.log.warn(
      { provider: row.provider, connection: row.id },
      'a refresh came back after its connection had changed; its answer is dropped',
    )
}
