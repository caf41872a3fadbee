/**
 * The due-row worker. A due row says itself when it next needs work; a kind knows how to claim, extend, run and settle
 * its own rows. The loop claims in batches, runs outside any transaction, extends the leases it holds, and never
 * settles: a row whose work threw keeps its lease and comes again when that has passed. Polling always runs; a nudge
 * only shortens the wait.
 */
import { randomUUID } from 'node:crypto'
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'

export interface DueRow {
  readonly id: string
  readonly lease_id: string
  readonly claims: number
}

export interface Lease {
  readonly id: string
  readonly seconds: number
  readonly limit: number
}

export interface WorkKind<Row extends DueRow> {
  readonly name: string
  /** At most 60: the lease is the recovery time after a crash. */
  readonly leaseSeconds: number
  readonly batch: number
  /** Rows of this kind that one process works on at once. */
  readonly concurrency: number
  claim(db: Db, lease: Lease): Promise<Row[]>
  /** @returns false when the lease was lost */
  extend(db: Db, row: Row, seconds: number): Promise<boolean>
  /** Works and settles, fenced by `lease_id`. `signal` aborts when the lease is lost or the process drains too long. */
  run(row: Row, signal: AbortSignal): Promise<void>
  /** Settles a row whose claims were never answered: its work kills the process. */
  poison(db: Db, row: Row): Promise<void>
}

export interface Nudge {
  nudge(kind: string): void
}

export interface Worker extends Nudge {
  start(): void
  /** Claims no more and waits for what is in flight; after `graceMs` the rest is aborted and left to its lease. */
  drain(graceMs: number): Promise<void>
}

export interface WorkerNeeds {
  readonly db: Db
  readonly log: Log
  readonly metrics: Metrics
}

const IDLE_MS = 250
const ERROR_MS = 1_000
const POISON_CLAIMS = 3

// biome-ignore lint/suspicious/noExplicitAny: a table of kinds with different rows; each kind is checked where it is made
export function openWorker(needs: WorkerNeeds, kinds: readonly WorkKind<any>[]): Worker {
  const loops = new Map(kinds.map((kind) => [kind.name, kindLoop(needs, kind as WorkKind<DueRow>)]))
  return {
    start: () => {
      for (const loop of loops.values()) loop.start()
    },
    nudge: (kind) => loops.get(kind)?.nudge(),
    drain: async (graceMs) => {
      await Promise.all([...loops.values()].map((loop) => loop.drain(graceMs)))
    },
  }
}

function kindLoop(needs: WorkerNeeds, kind: WorkKind<DueRow>) {
  const inFlight = new Map<Promise<void>, AbortController>()
  let draining = false
  let wake = () => {}
  let nudged = false
  let running: Promise<void> = Promise.resolve()

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      if (nudged || draining) {
        nudged = false
        resolve()
        return
      }
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        nudged = false
        resolve()
      }
    })

  async function loop(): Promise<void> {
    while (!draining) {
      const room = Math.min(kind.batch, kind.concurrency - inFlight.size)
      if (room <= 0) {
        await Promise.race(inFlight.keys())
        continue
      }
      const claimed = await claim(room)
      if (claimed === undefined) await pause(ERROR_MS)
      else if (claimed < room) await pause(IDLE_MS)
    }
  }

  async function claim(limit: number): Promise<number | undefined> {
    try {
      const rows = await kind.claim(needs.db, { id: randomUUID(), seconds: kind.leaseSeconds, limit })
      for (const row of rows) track(row)
      return rows.length
    } catch (error) {
      needs.log.warn({ kind: kind.name, ...errorFields(error) }, 'claiming failed; trying again')
      return undefined
    }
  }

  function track(row: DueRow): void {
    const abort = new AbortController()
    const done = attend(row, abort).finally(() => {
      inFlight.delete(done)
      // a freed slot may be all the loop waits for
      if (inFlight.size < kind.concurrency) wake()
    })
    inFlight.set(done, abort)
  }

  async function attend(row: DueRow, abort: AbortController): Promise<void> {
    const heartbeat = setInterval(
      () => {
        kind.extend(needs.db, row, kind.leaseSeconds).then(
          (held) => {
            if (!held) abort.abort()
          },
          // the database is away: the lease will pass unless a later beat succeeds
          () => {},
        )
      },
      (kind.leaseSeconds * 1000) / 3,
    )
    try {
      if (row.claims > POISON_CLAIMS) await kind.poison(needs.db, row)
      else await kind.run(row, abort.signal)
    } catch (error) {
      needs.metrics.workErrors(kind.name)
      needs.log.error(
        { kind: kind.name, row: row.id, ...errorFields(error) },
        'work failed; the row comes again when its lease has passed',
      )
    } finally {
      clearInterval(heartbeat)
    }
  }

  return {
    start: () => {
      running = loop()
    },
    nudge: () => {
      nudged = true
      wake()
    },
    drain: async (graceMs: number) => {
      draining = true
      wake()
      await running
      const timer = setTimeout(() => {
        for (const abort of inFlight.values()) abort.abort()
      }, graceMs)
      await Promise.all(inFlight.keys())
      clearTimeout(timer)
    },
  }
}
