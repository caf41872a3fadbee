/**
 * How fast a provider's API is called about subscriptions: one pace for all processes (call-pace-store.ts), so that ten
 * thousand due rows, or the end of an outage, are no storm. It is kept for each HTTP request, also for the pages of a list
 * and the second try of a create; what changes something (create, renew, stop) has a pace of its own beside what only
 * reads, because providers limit it more. A turn that this process is late for is not used but taken anew: begun late, it
 * would meet the turns of others. Refreshing tokens has a pace of its own (connections/refresh-pace.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { CallLimits } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { plantCallPaces, takeCallTurn } from './call-pace-store.ts'

export interface CallPaceNeeds {
  readonly db: Db
  readonly fetch: typeof fetch
  readonly monotonicMs: () => number
}

export interface PacedProvider {
  readonly id: string
  readonly callLimits?: CallLimits
}

/** A request that begins no later than this still arrives within its second. */
const LATE_MS = 150
/** Longer than any call may take: whoever has to wait longer is told by its own deadline. */
const LONGEST_SECONDS = 60
const PER_SECOND = 50

const changesOf = (provider: string) => `${provider}/changes`
const listsOf = (provider: string) => `${provider}/lists`

/** @returns for each provider a `fetch` that waits for its turn; its own signal ends the wait */
export async function openCallPace(
  needs: CallPaceNeeds,
  providers: readonly PacedProvider[],
): Promise<(provider: string) => typeof fetch> {
  await plantCallPaces(
    needs.db,
    providers.flatMap(({ id, callLimits }) => [
      { name: id, perSecond: PER_SECOND },
      { name: changesOf(id), perSecond: callLimits?.changesPerSecond ?? PER_SECOND },
      { name: listsOf(id), perSecond: callLimits?.listsPerSecond ?? PER_SECOND },
    ]),
  )
  return (provider) => async (input, init) => {
    const pace = (init?.method ?? 'GET') === 'GET' ? provider : changesOf(provider)
    if (!(await turn(needs, pace, LONGEST_SECONDS, init?.signal ?? undefined)))
      throw Object.assign(new Error('a provider without a pace is called'), { code: 'no_pace', safe: true })
    return needs.fetch(input, init)
  }
}

/**
 * A turn to ask for the list of what is subscribed: limited so strictly that most lists have to wait for another day
 * rather than for their turn.
 * @returns false: none within that time
 */
export const listTurns =
  (needs: Omit<CallPaceNeeds, 'fetch'>) =>
  (provider: string, withinSeconds: number, signal: AbortSignal): Promise<boolean> =>
    turn(needs, listsOf(provider), withinSeconds, signal)

export type ListTurn = ReturnType<typeof listTurns>

async function turn(
  needs: Omit<CallPaceNeeds, 'fetch'>,
  pace: string,
  withinSeconds: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for (;;) {
    signal?.throwIfAborted()
    const sentMs = needs.monotonicMs()
    const inSeconds = await takeCallTurn(needs.db, pace, withinSeconds)
    if (inSeconds === undefined) return false
    // the statement ran between `sentMs` and now: never early, and late by what is known
    const waitMs = Math.max(0, inSeconds) * 1_000
    if (waitMs > 0) await pause(waitMs, undefined, signal === undefined ? {} : { signal })
    if (needs.monotonicMs() <= sentMs + waitMs + LATE_MS) return true
  }
}
