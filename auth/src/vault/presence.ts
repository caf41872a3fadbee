/**
 * The heartbeat by which a process says which keys it holds, and by which it learns within seconds that another key is
 * primary or that one is disabled. What it seals under the earlier primary in between is found by the rewrap. It never
 * takes a key for primary that it does not hold.
 */
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { type FollowingKeyRing, ringState } from './key-ring.ts'
import { forgetProcess, type ProcessName, reportProcess } from './store.ts'

export const HEARTBEAT_MS = 2_000

export interface Presence {
  /** Takes the process from the list. */
  end(): Promise<void>
}

/** @param needs.process as it was listed by `loadKeyRing` */
export function openPresence(needs: {
  readonly db: Db
  readonly ring: FollowingKeyRing
  readonly process: ProcessName
  readonly log: Log
}): Presence {
  const { db, ring, process, log } = needs
  let beating: Promise<void> | undefined
  let lacking = false

  async function beat(): Promise<void> {
    try {
      const before = ring.primaryId
      const state = ringState(await reportProcess(db, process, ring), before)
      const followed = ring.follow(state).kind === 'followed'
      if (!followed && !lacking)
        log.error({ key: state.primaryId }, 'the primary encryption key is not configured in this process')
      lacking = !followed
      if (ring.primaryId === before) return
      log.info({ key: ring.primaryId }, 'another encryption key is primary')
      await reportProcess(db, process, ring)
    } catch (error) {
      log.warn(errorFields(error), 'the heartbeat of this process failed; the next one follows')
    }
  }

  // one at a time: a slow database must not gather beats
  const timer = setInterval(() => {
    beating ??= beat().finally(() => {
      beating = undefined
    })
  }, HEARTBEAT_MS)
  return {
    async end() {
      clearInterval(timer)
      await beating
      await forgetProcess(db, process.id).catch(() => undefined)
    },
  }
}
