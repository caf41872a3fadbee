/**
 * Notes when a subscription last proved alive: after the commit of its notifications, at most once a minute for each, so
 * that a busy one costs one small update a minute. May be lost; never delays an acknowledgement.
 */
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { noteNotified } from './store.ts'

export interface TouchNeeds {
  readonly db: Db
  readonly monotonicMs: () => number
  readonly log: Log
}

/** Resolves when it is written, for tests; callers need not wait. Never rejects. */
export type Touch = (subscriptionIds: readonly string[], at: Date) => Promise<void>

const PAUSE_MS = 60_000
const REMEMBERED = 10_000

export function openTouch(needs: TouchNeeds): Touch {
  const touched = new Map<string, number>()
  return async (subscriptionIds, at) => {
    const now = needs.monotonicMs()
    const due = [...new Set(subscriptionIds)].filter((id) => now - (touched.get(id) ?? -Infinity) >= PAUSE_MS)
    if (due.length === 0) return
    if (touched.size + due.length > REMEMBERED) touched.clear()
    for (const id of due) touched.set(id, now)
    try {
      await noteNotified(needs.db, due, at)
    } catch (error) {
      for (const id of due) touched.delete(id)
      needs.log.warn(errorFields(error), 'the time of a last notification was not noted')
    }
  }
}
