/**
 * What follows a refresh that failed, by the class of its failure (protocols/microsoft.md §1.6, google.md §1.6):
 *
 *   permanent, needs_user    `reauth_required`, after the row was read again: newer tokens there are simply used
 *   needs_admin              `admin_required`, tried again daily
 *   our_configuration        the connection is left alone; the operator is told, once for all connections
 *   transient, throttled     the connection is left alone; due again later
 *
 * State, audit, event and due row change in one transaction. Never asks a provider.
 */
import type { Failure } from '@flovify/providers'
import type { Log } from '../platform/log.ts'
import { alarmOperator, reasonOf } from './provider-alarm.ts'
import type { HeldRefresh, RefreshNeeds, RefreshResult } from './refresh.ts'
import type { RefreshTurn } from './refresh-pace.ts'
import { retryInSeconds } from './refresh-schedule.ts'
import { deferRefresh, releaseRefresh, type TokensToRefresh, unscheduleRefresh } from './refresh-store.ts'
import { lockConnection } from './store.ts'
import { type Ending, endWork } from './transition.ts'

export async function settleFailure(
  needs: RefreshNeeds,
  held: HeldRefresh,
  row: TokensToRefresh,
  failure: Failure,
  turn: RefreshTurn,
): Promise<RefreshResult> {
  needs.metrics.refreshFailures(row.provider, failure.class)
  const inSeconds = retryInSeconds(failure, row.attempts + 1, needs.random())
  switch (failure.class) {
    case 'permanent':
    case 'needs_user':
      await needs.pace.answered(row.provider, turn, false)
      return settleEnding(needs, held, row, { to: 'reauth_required', reason: reasonOf(failure) })
    case 'needs_admin':
      await needs.pace.answered(row.provider, turn, false)
      return settleEnding(needs, held, row, { to: 'admin_required', reason: reasonOf(failure), inSeconds })
    case 'our_configuration':
      await needs.pace.answered(row.provider, turn, false)
      await alarmOperator(needs, row.provider, failure)
      break
    case 'transient':
    case 'throttled':
      await needs.pace.failed(row.provider, turn, failure)
      needs.report.notNow(row.provider, failure.class, reasonOf(failure))
      break
    default:
      return failure.class satisfies never
  }
  await deferRefresh(needs.db, held, inSeconds)
  return { kind: 'later', inSeconds }
}

/** @param change with `inSeconds` the row stays due; without, nothing but a reconnect helps */
export async function settleEnding(
  needs: Pick<RefreshNeeds, 'db' | 'ledger' | 'log'>,
  held: HeldRefresh,
  row: Pick<TokensToRefresh, 'id' | 'version' | 'provider'>,
  change: { readonly to: Ending; readonly reason: string; readonly inSeconds?: number },
): Promise<RefreshResult> {
  const ended = await needs.db.transaction(async (tx) => {
    const now = await lockConnection(tx, row.id)
    const verdict =
      now === undefined
        ? 'stale'
        : await endWork(needs, tx, now, { to: change.to, reason: change.reason, version: row.version })
    if (verdict === 'stale') await releaseRefresh(tx, held)
    else if (change.inSeconds === undefined) await unscheduleRefresh(tx, row.id)
    else await deferRefresh(tx, held, change.inSeconds)
    return verdict
  })
  if (ended === 'changed')
    needs.log.warn(
      { provider: row.provider, connection: row.id, status: change.to, reason: change.reason },
      'a connection needs somebody: its token cannot be refreshed',
    )
  return { kind: 'changed' }
}

/** Says that refreshes fail at a provider: once in a while, not once for each connection. */
export interface FailureReport {
  notNow(provider: string, failureClass: 'transient' | 'throttled', code: string): void
}

const NOT_NOW_QUIET_MS = 30_000

export function openFailureReport(needs: {
  readonly log: Log
  readonly monotonicMs: () => number
}): FailureReport {
  const last = new Map<string, number>()
  return {
    notNow(provider, failureClass, code) {
      const now = needs.monotonicMs()
      const key = `${provider} ${failureClass}`
      const before = last.get(key)
      if (before !== undefined && now - before < NOT_NOW_QUIET_MS) return
      last.set(key, now)
      needs.log.warn(
        { provider, class: failureClass, code },
        'refreshes fail at this provider; they are tried again',
      )
    },
  }
}
