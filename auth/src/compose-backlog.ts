/** The gauges of what waits. What is cheap is read each time; what has to be counted, as often as it takes little of the time. */
import type { Db } from './db/sql.ts'
import type { Metrics } from './platform/metrics.ts'
import { type BacklogCount, countBacklog, readOldestDue } from './work/backlog-store.ts'

export interface BacklogNeeds {
  readonly db: Db
  readonly metrics: Pick<Metrics, 'gauge' | 'destinations'>
  readonly monotonicMs: () => number
}

/** Counting takes a twentieth of the time at most. */
const PAUSE_FACTOR = 19
/** What takes less is counted each time. */
const NEGLIGIBLE_MS = 50

/** @returns reads and sets them; a failure leaves the last values of what failed, and only of that */
export function backlogGauges({ db, metrics, monotonicMs }: BacklogNeeds): () => Promise<void> {
  let counts: readonly BacklogCount[] = []
  let nextAt = 0
  let counting: Promise<void> | undefined
  const count = async () => {
    const began = monotonicMs()
    const counted = await countBacklog(db).catch(() => undefined)
    const tookMs = monotonicMs() - began
    nextAt = monotonicMs() + (tookMs < NEGLIGIBLE_MS ? 0 : tookMs * PAUSE_FACTOR)
    if (counted !== undefined) counts = counted
  }
  return async () => {
    if (monotonicMs() >= nextAt)
      counting ??= count().finally(() => {
        counting = undefined
      })
    await counting
    const oldest = await readOldestDue(db).catch(() => undefined)
    if (oldest === undefined) return
    const ages = new Map(oldest.map((one) => [one.destination, one]))
    const counted = new Map(counts.map((one) => [one.destination, one]))
    const sum = (of: 'due' | 'dead') => counts.reduce((total, one) => total + one[of], 0)
    metrics.gauge('deliveries_due', sum('due'))
    metrics.gauge('deliveries_dead', sum('dead'))
    metrics.gauge('oldest_due_seconds', Math.max(0, ...oldest.map((one) => one.oldestDueSeconds)))
    metrics.destinations(
      [...new Set([...ages.keys(), ...counted.keys()])].map((destination) => ({
        destination,
        due: counted.get(destination)?.due ?? 0,
        inFlight: counted.get(destination)?.inFlight ?? 0,
        dead: counted.get(destination)?.dead ?? 0,
        oldestDueSeconds: ages.get(destination)?.oldestDueSeconds ?? 0,
        breakerOpen: ages.get(destination)?.breakerOpen ?? false,
      })),
    )
  }
}
