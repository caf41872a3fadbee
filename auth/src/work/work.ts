/**
 * The due-row worker. A due row says itself when it next needs work; a kind knows how to claim, extend, run and settle
 * its own rows. The loop claims in batches, runs outside any transaction, extends the leases it holds, and never
 * settles: a row whose work threw is given back and comes again; one whose process died comes again when its lease has
 * passed, and only that counts towards poison. Polling always runs; a nudge only shortens the wait.
 */
import { randomUUID } from 'node:crypto'
import type { Db } from '../db/sql.ts'
import { monotonicMs } from '../platform/clock.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { openFailureDelay } from './failure-delay.ts'
import { type Holding, startHeartbeat } from './heartbeat.ts'

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
  /**
   * For work that can wait: over how long what was claimed may be spread before the next claim, when more is left.
   * 0: all at once, and claim again.
   */
  restMs?(claimed: number, tookMs: number): number
  claim(db: Db, lease: Lease): Promise<Row[]>
  /** @returns false when the lease was lost */
  extend(db: Db, row: Row, seconds: number): Promise<boolean>
  /** Works and settles, fenced by `lease_id`. `signal` aborts when the lease is lost or the process drains too long. */
  run(row: Row, signal: AbortSignal): Promise<void>
  /** Gives an unsettled row back, fenced: not counted as a claim, due again in `seconds`. Settled or lost: no effect. */
  release(db: Db, row: Row, seconds: number): Promise<void>
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
/**
 * A claim of one row costs as much as one of many. So after a claim that brought something, what comes due and what slots
 * become free are gathered as long as the claim took, this long at most: claiming takes half of the time at most.
 */
const GATHER_MS = 20
/** What is spread over a rest begins in so many parts. */
const SLICES = 20
const ERROR_MS = 1_000
const POISON_CLAIMS = 3
/** A suspect that has to wait for another one is due again in this time. */
const SUSPECT_SECONDS = 1

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
  const inFlight = new Map<Holding<DueRow>, Promise<void>>()
  const failures = openFailureDelay()
  /** Id of the one row in flight whose claim is its last before it counts as poison. */
  let suspect: string | undefined
  let draining = false
  /** Something may be due: set by a nudge or a freed slot, taken by the next claim. */
  let nudged = false
  /** It pauses for a while, whatever a nudge says, or until there is room for half a batch of what is known to wait. */
  let gathering: 'time' | 'room' | undefined
  let endPause: (() => void) | undefined
  let running: Promise<void> = Promise.resolve()
  let endHeartbeat = () => {}

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer)
        endPause = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      endPause = end
      if ((nudged && gathering === undefined) || draining) end()
    })

  const nudge = () => {
    nudged = true
    if (gathering === undefined) endPause?.()
  }

  async function gather(what: 'time' | 'room', ms: number): Promise<void> {
    gathering = what
    await pause(ms)
    gathering = undefined
  }

  const roomNow = () => Math.min(kind.batch, kind.concurrency - inFlight.size)
  const enough = Math.min(kind.batch, kind.concurrency) / 2

  async function loop(): Promise<void> {
    while (!draining) {
      nudged = false
      const room = roomNow()
      if (room <= 0) {
        await pause(IDLE_MS)
        continue
      }
      const began = monotonicMs()
      const claimed = await claim(room)
      if (claimed === undefined) await pause(ERROR_MS)
      else if (claimed.length === 0) await pause(IDLE_MS)
      else {
        const tookMs = monotonicMs() - began
        // what took all that it could has more to take
        const more = claimed.length === room
        const restMs = (more && room >= enough && kind.restMs?.(room, tookMs)) || 0
        await begin(await withOneSuspect(claimed), restMs)
        if (!more) await gather('time', Math.min(GATHER_MS, tookMs))
        else {
          nudged = true
          if (roomNow() < enough) await gather('room', GATHER_MS)
        }
        await pause(IDLE_MS)
      }
    }
  }

  /** All at once, or in slices over the time of a rest. */
  async function begin(rows: DueRow[], restMs: number): Promise<void> {
    const slice = restMs === 0 ? rows.length : Math.ceil(rows.length / SLICES)
    for (let n = 0; n < rows.length; n += slice) {
      for (const row of rows.slice(n, n + slice)) track(row)
      if (restMs > 0) await gather('time', (restMs * slice) / rows.length)
    }
  }

  async function claim(limit: number): Promise<DueRow[] | undefined> {
    try {
      return await kind.claim(needs.db, { id: randomUUID(), seconds: kind.leaseSeconds, limit })
    } catch (error) {
      needs.log.warn({ kind: kind.name, ...errorFields(error) }, 'claiming failed; trying again')
      return undefined
    }
  }

  /**
   * A crash counts against all rows that were in flight, although one of them did it. So the last try of each is made
   * with no other suspect in flight: the others are given back, uncounted, before it begins. One that could not be given
   * back is run: left to its lease it would count as crashed.
   */
  async function withOneSuspect(rows: DueRow[]): Promise<DueRow[]> {
    const others = rows.filter((row) => row.claims === POISON_CLAIMS)
    if (suspect === undefined) suspect = others.shift()?.id
    const released = await Promise.allSettled(
      others.map((row) => kind.release(needs.db, row, SUSPECT_SECONDS)),
    )
    const given = new Set(others.filter((_, n) => released[n]?.status === 'fulfilled'))
    return rows.filter((row) => !given.has(row))
  }

  function track(row: DueRow): void {
    const holding = { row, abort: new AbortController(), heldAt: monotonicMs() }
    inFlight.set(
      holding,
      attend(holding).finally(() => {
        inFlight.delete(holding)
        if (row.id === suspect) suspect = undefined
        // a freed slot may be all that the loop waits for
        nudge()
        if (gathering === 'room' && roomNow() >= enough) endPause?.()
      }),
    )
  }

  async function attend({ row, abort }: Holding<DueRow>): Promise<void> {
    try {
      if (row.claims > POISON_CLAIMS) await kind.poison(needs.db, row)
      else await kind.run(row, abort.signal)
      failures.ended(row.id)
      // cut off by draining: another process may take it at once (fenced: a settled or lost row is not touched)
      if (abort.signal.aborted) await kind.release(needs.db, row, 0)
    } catch (error) {
      needs.metrics.workErrors(kind.name)
      needs.log.error(
        { kind: kind.name, row: row.id, ...errorFields(error) },
        'work failed; the row comes again',
      )
      // Only a process that died leaves its claim counted: what throws is no crash.
      await kind.release(needs.db, row, failures.failed(row.id)).catch(() => {
        needs.log.warn({ kind: kind.name, row: row.id }, 'the lease could not be given back; it will pass')
      })
    }
  }

  return {
    start: () => {
      endHeartbeat = startHeartbeat(
        () => inFlight.keys(),
        kind.leaseSeconds,
        (row) => kind.extend(needs.db, row, kind.leaseSeconds),
      )
      running = loop()
    },
    nudge,
    drain: async (graceMs: number) => {
      draining = true
      endPause?.()
      const cut = setTimeout(() => {
        for (const { abort } of inFlight.keys()) abort.abort()
      }, graceMs)
      await running
      await Promise.all(inFlight.values())
      clearTimeout(cut)
      endHeartbeat()
    },
  }
}
