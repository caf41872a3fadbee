/**
 * How fast a provider's API is called about subscriptions: one pace for all processes (call-pace-store.ts), so that ten
 * thousand due rows, or the end of an outage, are no storm. It is kept for each HTTP request, also for the pages of a list
 * and the second try of a create. A turn that this process is late for is not used but taken anew: begun late, it would
 * meet the turns of others. Refreshing tokens has a pace of its own (connections/refresh-pace.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Db } from '../db/sql.ts'
import { plantCallPaces, takeCallTurn } from './call-pace-store.ts'

export interface CallPaceNeeds {
  readonly db: Db
  readonly fetch: typeof fetch
  readonly monotonicMs: () => number
}

/** A request that begins no later than this still arrives within its second. */
const LATE_MS = 150

/** @returns for each provider a `fetch` that waits for its turn; its own signal ends the wait */
export async function openCallPace(
  needs: CallPaceNeeds,
  providerIds: readonly string[],
): Promise<(provider: string) => typeof fetch> {
  await plantCallPaces(needs.db, providerIds)
  return (provider) => async (input, init) => {
    await turn(needs, provider, init?.signal ?? undefined)
    return needs.fetch(input, init)
  }
}

async function turn(needs: CallPaceNeeds, provider: string, signal: AbortSignal | undefined): Promise<void> {
  for (;;) {
    signal?.throwIfAborted()
    const sentMs = needs.monotonicMs()
    const inSeconds = await takeCallTurn(needs.db, provider)
    if (inSeconds === undefined)
      throw Object.assign(new Error('a provider without a pace is called'), { code: 'no_pace', safe: true })
    // the statement ran between `sentMs` and now: never early, and late by what is known
    const waitMs = Math.max(0, inSeconds) * 1_000
    if (waitMs > 0) await pause(waitMs, undefined, signal === undefined ? {} : { signal })
    if (needs.monotonicMs() <= sentMs + waitMs + LATE_MS) return
  }
}
