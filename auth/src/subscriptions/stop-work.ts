/**
 * The kind of due row called `subscription_stops`: ends one subscription at its provider, with the connection's token,
 * until the provider has answered or it has expired there. It is not ours any more: whatever it sends meanwhile is
 * judged by its own rules.
 */
import type { Orphan, Provider } from '@flovify/providers'
import type { Database, Db } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, Nudge, WorkKind } from '../work/work.ts'
import { STOPS } from './kinds.ts'
import { type CallNeeds, callProvider } from './provider-call.ts'
import { judgeRetry } from './retry.ts'
import { isFinal } from './stop.ts'
import {
  deferStop,
  findStop,
  finishStop,
  insertStopsBesideSiblings,
  insertStopsOfOrphans,
  insertStopsOfUnknown,
} from './stop-store.ts'
import type { AccessToken } from './work.ts'

export interface StopWorkNeeds extends CallNeeds {
  readonly db: Database
  readonly provider: (id: string) => Provider | undefined
  readonly accessToken: AccessToken
  readonly metrics: Metrics
  /** 0 ≤ random < 1, for the jitter */
  readonly random: () => number
}

const WAITING_SECONDS = 3_600

export function subscriptionStops(needs: StopWorkNeeds): WorkKind<DueRow> {
  return {
    name: STOPS,
    leaseSeconds: 30,
    batch: 8,
    concurrency: 8,
    ...dueIn('auth.subscription_stops'),
    run: (row, signal) => attend(needs, row, signal),
    poison: async (_db, row) => {
      await deferStop(needs.db, row, WAITING_SECONDS)
    },
  }
}

async function attend(needs: StopWorkNeeds, due: DueRow, signal: AbortSignal): Promise<void> {
  const row = await findStop(needs.db, due)
  const side = row && needs.provider(row.provider)?.subscriptions
  if (row === undefined) return
  // of what the account has one of, another connection, or a newer row, lives on it
  const isInUse = row.watched && side?.sharedByAccount(row.resource) === true
  if (row.expired || side === undefined || isInUse) {
    await finishStop(needs.db, due)
    return
  }
  const token = await needs.accessToken(row.connection_id, 60)
  if (token.kind === 'unknown') {
    await finishStop(needs.db, due)
    return
  }
  if (token.kind !== 'token') {
    const retry = judgeRetry({ class: 'transient', code: token.kind }, row.attempts + 1, needs.random())
    const inSeconds = token.kind === 'expired' && retry.kind === 'again' ? retry.inSeconds : WAITING_SECONDS
    await deferStop(needs.db, due, inSeconds)
    return
  }
  const { resource, provider_subscription_id: providerSubscriptionId } = row
  const stopped = await callProvider(needs, row, signal, (abort) =>
    side.stop({ resource, providerSubscriptionId, accessToken: token.accessToken, signal: abort }),
  )
  if (signal.aborted) return
  const failure = stopped.kind === 'failed' ? stopped.failure : undefined
  if (failure === undefined) needs.metrics.subscriptions(row.provider, 'stopped')
  if (failure === undefined || isFinal(failure)) {
    await finishStop(needs.db, due)
    return
  }
  const retry = judgeRetry(failure, row.attempts + 1, needs.random())
  await deferStop(needs.db, due, retry.kind === 'again' ? retry.inSeconds : WAITING_SECONDS)
  needs.log.warn(
    { provider: row.provider, connection: row.connection_id, code: failure.code },
    'a subscription could not be stopped at its provider; trying again',
  )
}

/**
 * Writes down that those which belong to nobody have to be stopped.
 * @param finder the connection in whose account they were found; absent: they told of themselves
 * @returns how many
 */
export async function adoptOrphans(
  needs: { readonly db: Db; readonly nudge: Nudge; readonly log: Log },
  orphans: readonly Orphan[],
  finder?: { readonly connectionId: string; readonly resource: string },
): Promise<number> {
  if (orphans.length === 0) return 0
  const found = [...(await insertStopsOfOrphans(needs.db, orphans))]
  if (finder !== undefined) found.push(...(await insertStopsOfUnknown(needs.db, finder, orphans)))
  else
    for (const orphan of orphans)
      if (orphan.idsEnd !== undefined)
        found.push(...(await insertStopsBesideSiblings(needs.db, orphan, orphan.idsEnd)))
  for (const { provider, connection_id: connection } of found)
    needs.log.warn({ provider, connection }, 'a subscription that belongs to nobody was found; it is stopped')
  if (found.length > 0) needs.nudge.nudge(STOPS)
  return found.length
}
