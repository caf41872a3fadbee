/**
 * Writes a result down, and tries that again while the lease is held: what was sent is not sent again only because the
 * database was busy or away for a moment. What the last try throws is thrown.
 */
import { setTimeout as pause } from 'node:timers/promises'

/** Before the second try and those after it: all of them fit into the heartbeats of a lease. */
const PAUSES_MS = [250, 1_000, 4_000]

/** @param signal aborts when the lease is lost or the process ends: then it is not tried again */
export async function settleAgain(settle: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  for (const ms of PAUSES_MS) {
    try {
      return await settle()
    } catch (error) {
      if (signal.aborted) throw error
      // woken early by the signal: one more try is made at once, and it is the last
      await pause(ms, undefined, { signal }).catch(() => undefined)
    }
  }
  return settle()
}
