/**
 * The kind of due row called `revocations`: ends a disconnected connection at its provider. First its subscriptions, while
 * a token still works; then its grant, where the provider has an endpoint for that and no other connection lives on the
 * same grant. Tried again until the provider has answered, at most a day; then the data key is wiped. It gives no token
 * to anybody.
 */
import type { Failure, Provider, Secret } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { withDeadline } from '../platform/deadline.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { SealingKey, Vault } from '../vault/vault.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, WorkKind } from '../work/work.ts'
import { words } from './complete.ts'
import { nextRevocationSeconds } from './revocation-schedule.ts'
import {
  deferRevocation,
  dropHeld,
  findRevoking,
  finishRevocation,
  type Revoking,
} from './revocation-store.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'

/** What this room needs of the subscriptions room: ends them at the provider. */
export type StopAtProvider = (
  connection: { readonly id: string; readonly provider: string; readonly shared: boolean },
  accessToken: Secret,
  signal: AbortSignal,
) => Promise<{ readonly kind: 'ended' } | { readonly kind: 'later'; readonly failure: Failure }>

export interface RevocationNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly provider: (id: string) => Provider | undefined
  readonly stopAtProvider: StopAtProvider
  /** Whether anything of it is left at the provider. */
  readonly subscriptions: Pick<SubscriptionsOfConnections, 'hasToStop'>
  readonly metrics: Metrics
  readonly log: Log
  /** 0 ≤ random < 1, for the jitter */
  readonly random: () => number
}

export const REVOCATIONS = 'revocations'
const CALL_MS = 10_000

export function revocationWork(needs: RevocationNeeds): WorkKind<DueRow> {
  return {
    name: REVOCATIONS,
    leaseSeconds: 60,
    batch: 8,
    concurrency: 8,
    ...dueIn('auth.revocations'),
    run: (row, signal) => attend(needs, row, signal),
    // It ended the process three times: not once more. The tokens go, which is what the user wants.
    poison: (_db, row) => finish(needs, row, 'poison'),
  }
}

async function attend(needs: RevocationNeeds, due: DueRow, signal: AbortSignal): Promise<void> {
  const row = await findRevoking(needs.db, due)
  if (row === undefined) {
    await dropHeld(needs.db, due)
    return
  }
  const provider = needs.provider(row.provider)
  const tokens = openTokens(needs, row)
  if (provider === undefined || tokens === undefined) {
    // A key that is missing today may be there tomorrow; a row that was changed by another hand never opens again.
    if (row.overdue || row.data_key === null) return finish(needs, due, 'tokens_unreadable')
    await deferRevocation(needs.db, due, 600)
    return
  }
  const failure = await endAtProvider(needs, provider, row, tokens, signal)
  if (signal.aborted) return
  if (failure === undefined) return finish(needs, due, row.shared ? 'grant_shared' : 'done')
  if (isFinal(failure)) return finish(needs, due, failure.code)
  if (row.overdue) {
    needs.log.error(
      { connection: row.id, provider: row.provider, code: failure.code },
      'a grant could not be revoked within a day: its tokens are wiped here and live on at the provider until they expire; withdraw the consent there',
    )
    return finish(needs, due, 'given_up')
  }
  needs.log.warn(
    { connection: row.id, provider: row.provider, code: failure.code, class: failure.class },
    'revoking failed; it is tried again',
  )
  await deferRevocation(needs.db, due, nextRevocationSeconds(row.attempts, failure, needs.random()))
}

/** The grant is gone already, or will never be ours again: there is nothing left to end with these tokens. */
const isFinal = (failure: Failure) => failure.class === 'permanent' || failure.class === 'needs_user'

interface Tokens {
  readonly access: Secret | undefined
  readonly refresh: Secret | undefined
}

function openTokens(needs: RevocationNeeds, row: Revoking): Tokens | undefined {
  if (row.data_key === null) return undefined
  try {
    const context = {
      purpose: 'oauth_tokens',
      owner: row.owner_id,
      row: row.id,
      provider: row.provider,
    } as const
    const key = needs.vault.open(row.data_key, context)
    const open = (column: 'access_token' | 'refresh_token', of: SealingKey) => {
      const sealed = row[column]
      return sealed === null ? undefined : of.unseal(column, sealed)
    }
    return { access: open('access_token', key), refresh: open('refresh_token', key) }
  } catch (error) {
    needs.log.error({ connection: row.id, ...errorFields(error) }, 'tokens to revoke cannot be opened')
    return undefined
  }
}

/** @returns why it has to be tried again, if it has */
async function endAtProvider(
  needs: RevocationNeeds,
  provider: Provider,
  row: Revoking,
  tokens: Tokens,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  let token = tokens.refresh ?? tokens.access
  if (await needs.subscriptions.hasToStop(needs.db, row.id)) {
    const access = await accessToken(provider, row, tokens, signal)
    if (access.kind === 'failed') return access.failure
    token = access.refresh ?? token
    const ended = await needs.stopAtProvider(row, access.token, signal)
    if (ended.kind === 'later') return ended.failure
  }
  const { revoke } = provider.oauth
  if (revoke === undefined || row.shared || token === undefined) return undefined
  const revoked = await bounded(signal, (abort) => revoke({ token, signal: abort }))
  return revoked.kind === 'failed' ? revoked.failure : undefined
}

type Access =
  | { readonly kind: 'token'; readonly token: Secret; readonly refresh?: Secret | undefined }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** The stored one while it is valid; else one that is used here and never stored. */
async function accessToken(
  provider: Provider,
  row: Revoking,
  tokens: Tokens,
  signal: AbortSignal,
): Promise<Access> {
  if (row.usable && tokens.access !== undefined) return { kind: 'token', token: tokens.access }
  const refreshToken = tokens.refresh
  if (refreshToken === undefined)
    return { kind: 'failed', failure: { class: 'permanent', code: 'no_refresh_token' } }
  const outcome = await bounded(signal, (abort) =>
    provider.oauth.refresh({ refreshToken, scopes: words(row.scope), signal: abort }),
  )
  if (outcome.kind === 'failed') return outcome
  return { kind: 'token', token: outcome.tokens.accessToken, refresh: outcome.tokens.refreshToken }
}

async function bounded<T>(
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | { readonly kind: 'failed'; readonly failure: Failure }> {
  const inTime = await withDeadline(CALL_MS, signal, work)
  return inTime.kind === 'answered'
    ? inTime.value
    : { kind: 'failed', failure: { class: 'transient', code: 'timeout' } }
}

async function finish(needs: RevocationNeeds, due: DueRow, outcome: string): Promise<void> {
  await needs.db.transaction(async (tx) => {
    const ended = await finishRevocation(tx, due)
    if (ended === undefined) return
    await audit(tx, {
      actor: 'system',
      action: 'connection.revoked_at_provider',
      subject: due.id,
      detail: { provider: ended.provider, outcome },
    })
    needs.metrics.revocations(ended.provider, outcome === 'given_up' ? 'given_up' : 'ended')
  })
}
