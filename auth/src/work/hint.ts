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

export interface HintNeeds {
  /** The working pool: a hint is a statement of its own, after the commit it tells of. */
  readonly db: Db
  /** Of the database, for the connection that listens. */
  readonly url: string
  readonly role: 'all' | 'door' | 'work'
  readonly worker: Nudge
  readonly log: Log
}

export interface Hints extends Nudge {
  close(): Promise<void>
}

/** A process that works nudges itself and hears the others; one that does not tells them. */
export function openHints(needs: HintNeeds): Hints {
  if (needs.role === 'door') return { ...teller(needs.db), close: async () => {} }
  const { url, log, worker } = needs
  const listener = openListener({ url, channel: CHANNEL, log, heard: (kind) => worker.nudge(kind) })
  return { nudge: (kind) => worker.nudge(kind), close: () => listener.close() }
}

function teller(db: Db): Nudge {
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
