/**
 * The heartbeat of the leases that one loop holds: one look at all of them, instead of a timer for each, because most
 * rows end long before their first beat. It only extends; who lost its lease is told by its signal.
 */
import { monotonicMs } from '../platform/clock.ts'

export interface Holding<Row> {
  readonly row: Row
  readonly abort: AbortController
  /** When the lease was last known to be ours, by the monotonic clock. */
  heldAt: number
}

/**
 * A lease is extended when a quarter of it has passed, a third at the latest; one that could not be is tried again at the
 * next look.
 *
 * @param extend answers whether the lease is still ours
 * @returns ends the beat
 */
export function startHeartbeat<Row>(
  held: () => Iterable<Holding<Row>>,
  leaseSeconds: number,
  extend: (row: Row) => Promise<boolean>,
): () => void {
  const leaseMs = leaseSeconds * 1000
  const asked = new WeakSet<Holding<Row>>()
  const beat = () => {
    const before = monotonicMs() - leaseMs / 4
    for (const holding of held()) {
      if (holding.heldAt > before || asked.has(holding)) continue
      asked.add(holding)
      const askedAt = monotonicMs()
      extend(holding.row)
        .then(
          (ours) => {
            if (ours) holding.heldAt = askedAt
            else holding.abort.abort()
          },
          // the database is away: the lease will pass unless a later beat succeeds
          () => {},
        )
        .finally(() => asked.delete(holding))
    }
  }
  const timer = setInterval(beat, leaseMs / 12)
  return () => clearInterval(timer)
}
