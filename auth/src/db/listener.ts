/**
 * One connection that listens on a channel, for as long as the process lives. When it is lost it is made again, with
 * growing pauses; what was sent meanwhile is lost, so only hints may come this way. Not through a pool: a pooler in
 * transaction mode would hand the connection to somebody else, and then nothing arrives.
 */
import pg from 'pg'
import type { Log } from '../platform/log.ts'

export interface Listener {
  close(): Promise<void>
}

export interface ListenerNeeds {
  readonly url: string
  /** A word of ours, never input: it is part of a statement. */
  readonly channel: string
  readonly log: Log
  heard(payload: string): void
}

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 10_000
/** A dead network is found by asking. */
const ASK_EVERY_MS = 30_000

/** Returns at once: the first connection is made like every later one. */
export function openListener(needs: ListenerNeeds): Listener {
  let closed = false
  let client: pg.Client | undefined
  let pauseMs = FIRST_PAUSE_MS
  let timer: NodeJS.Timeout | undefined

  const connect = async (): Promise<void> => {
    const own = new pg.Client({
      connectionString: needs.url,
      connectionTimeoutMillis: 5_000,
      query_timeout: 5_000,
      keepAlive: true,
      application_name: 'flovify-hints',
    })
    client = own
    own.on('notification', ({ payload }) => needs.heard(payload ?? ''))
    own.on('error', () => lost(own))
    own.on('end', () => lost(own))
    await own.connect()
    await own.query(`listen ${pg.escapeIdentifier(needs.channel)}`)
    pauseMs = FIRST_PAUSE_MS
    ask(own)
  }
  const ask = (own: pg.Client) => {
    if (closed || client !== own) return
    timer = setTimeout(() => {
      own.query('select 1').then(
        () => ask(own),
        () => lost(own),
      )
    }, ASK_EVERY_MS)
  }
  const lost = (own: pg.Client) => {
    if (closed || client !== own) return
    client = undefined
    clearTimeout(timer)
    own.end().catch(() => {})
    needs.log.warn({ pause_ms: pauseMs }, 'hints are not heard; polling goes on')
    timer = setTimeout(begin, pauseMs)
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)
  }
  const begin = () => {
    connect().catch(() => {
      if (client !== undefined) lost(client)
    })
  }
  begin()
  return {
    async close() {
      closed = true
      clearTimeout(timer)
      await client?.end().catch(() => {})
    },
  }
}
