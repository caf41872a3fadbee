/**
 * The kind of due row called `dead_retries`: one row is the retry of a destination's dead deliveries. Each round releases
 * a few of them, fewer while others wait there, so that live deliveries are never behind more than one round. It sends
 * nothing: what it releases is claimed like any other delivery.
 */
import type { Db } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, WorkKind } from '../work/work.ts'
import { releaseDead, settleDeadRetry } from './dead-store.ts'

export interface DeadWorkNeeds {
  readonly db: Db
  readonly log: Log
}

/** Released in one round, where nothing else waits: ten a second at most. */
const ROOM = 10
const ROUND_SECONDS = 1
/** A destination that takes nothing is looked at again after this. */
const HELD_SECONDS = 30

export function deadRetries(needs: DeadWorkNeeds): WorkKind<DueRow> {
  return {
    name: 'dead_retries',
    leaseSeconds: 60,
    batch: 10,
    concurrency: 10,
    ...dueIn('auth.dead_retries'),
    async run(row) {
      const released = await releaseDead(needs.db, row, ROOM)
      if (released === undefined) return
      const { left, held } = released
      await settleDeadRetry(needs.db, row, left ? (held ? HELD_SECONDS : ROUND_SECONDS) : null)
      if (!left) needs.log.info({ retry: row.id }, 'all dead deliveries of a retry are on their way')
    },
    // It only moves rows: a crash in it is chance, and it goes on.
    poison: (db, row) => settleDeadRetry(db, row, HELD_SECONDS),
  }
}
