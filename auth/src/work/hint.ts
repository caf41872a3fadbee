/**
 * Hints between processes: who stored something tells the working processes that it is due, so that it need not wait for
 * their next look. Nothing depends on a hint: polling always runs. Never sent inside a transaction that stores, because
 * a commit with a notification takes a lock of the whole server; many at once become one.
 */

import { openListener } from '../db/listener.ts'
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import type { Nudge } from './work.ts'

const CHANNEL = 'flovify_work'
/** A hint that is no kind of work: doors store, and have made so many deliveries. */
const STORED = /^stored (\d{1,9})$/
const STORED_EVERY_MS = 500

export interface HintNeeds {
  /** The working pool: a hint is a statement of its own, after the commit it tells of. */
  readonly db: Db
  /** Of the database, for the connection that listens. */
  readonly url: string
  readonly role: 'all' | 'door' | 'work'
  readonly worker: Nudge
  /** Told that doors store, and how many deliveries they made. */
  readonly pace: { stored(deliveries: number): void }
  readonly log: Log
}

export interface Hints extends Nudge {
  /** A door has stored a group, which made so many deliveries. */
  stored(deliveries: number): void
  close(): Promise<void>
}

/** A process that works nudges itself and hears the others; one that does not tells them. */
export function openHints(needs: HintNeeds): Hints {
  if (needs.role === 'door') return doorHints(needs.db)
  const { url, log, worker, pace } = needs
  const heard = (hint: string) => {
    const stored = STORED.exec(hint)?.[1]
    if (stored === undefined) worker.nudge(hint)
    else pace.stored(Number(stored))
  }
  const listener = openListener({ url, channel: CHANNEL, log, heard })
  return {
    nudge: (kind) => worker.nudge(kind),
    stored(deliveries) {
      pace.stored(deliveries)
      if (deliveries > 0) worker.nudge('deliveries')
    },
    close: () => listener.close(),
  }
}

function doorHints(db: Db): Hints {
  const teller = openTeller(db)
  /** Deliveries of the groups that were not told yet; undefined when there are none. */
  let untold: number | undefined
  let timer: NodeJS.Timeout | undefined
  const tell = () => {
    timer = undefined
    if (untold === undefined) return
    teller.nudge(`stored ${untold}`)
    untold = undefined
    timer = setTimeout(tell, STORED_EVERY_MS)
  }
  return {
    ...teller,
    stored(deliveries) {
      untold = (untold ?? 0) + deliveries
      if (timer === undefined) tell()
      if (deliveries > 0) teller.nudge('deliveries')
    },
    close: async () => clearTimeout(timer),
  }
}

function openTeller(db: Db): Nudge {
  const wanted = new Set<string>()
  let sending = false
  const send = async () => {
    sending = true
    try {
      for (const kind of wanted) {
        wanted.delete(kind)
        await db.rows(sql`select pg_notify(${CHANNEL}, ${kind})`)
      }
    } catch {
      // the database is away: the next look finds what is due
    } finally {
      sending = false
    }
  }
  return {
    nudge(kind) {
      wanted.add(kind)
      if (!sending) void send()
    },
  }
}
