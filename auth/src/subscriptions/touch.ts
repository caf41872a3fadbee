/**
 * Notes when a subscription last proved alive: after the commit of its notifications, at most once a minute for each, so
 * that a busy one costs one small update a minute. May be lost; never delays an acknowledgement.
 */
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { noteNotified } from './store.ts'

export interface TouchNeeds {
  readonly db: Db
  readonly log: Log
}

/** Resolves when it is written, for tests; callers need not wait. Never rejects. */
export type Touch = (subscriptionIds: readonly string[], at: Date) => Promise<void>

const PAUSE_MS = 60_000
const REMEMBERED = 10_000

/** @param pauseMs between two notes of one subscription */
export function openTouch(needs: TouchNeeds, pauseMs = PAUSE_MS): Touch {
  const touched = new Map<string, number>()
  /** Notified within the pause: noted when it is over, so that a check finds the newest time. */
  const waiting = new Map<string, Date>()
  let timer: NodeJS.Timeout | undefined

  const note = async (times: ReadonlyMap<string, Date>) => {
    try {
      await noteNotified(needs.db, times)
    } catch (error) {
      for (const id of times.keys()) touched.delete(id)
      needs.log.warn(errorFields(error), 'the time of a last notification was not noted')
    }
  }
  const noteWaiting = async () => {
    timer = undefined
    const times = new Map(waiting)
    waiting.clear()
    await note(times)
  }
  return async (subscriptionIds, at) => {
    const now = at.getTime()
    const due: string[] = []
    for (const id of new Set(subscriptionIds)) {
      if (Math.abs(now - (touched.get(id) ?? -Infinity)) >= pauseMs) due.push(id)
      else if (waiting.size < REMEMBERED) waiting.set(id, at)
    }
    if (waiting.size > 0 && timer === undefined)
      timer = setTimeout(() => {
        // note never rejects
        void noteWaiting()
      }, pauseMs).unref()
    if (due.length === 0) return
    if (touched.size + due.length > REMEMBERED) touched.clear()
    for (const id of due) {
      touched.set(id, now)
      waiting.delete(id)
    }
    await note(new Map(due.map((id) => [id, at])))
  }
}
