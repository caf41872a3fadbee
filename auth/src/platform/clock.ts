/**
 * The only place of the service that reads the time. The clock follows `auth.clock()`: its offset, which only tests
 * move, is read from the database by `compose.ts`. Deadlines and heartbeats use the monotonic clock, which no test moves.
 */

export interface Clock {
  now(): Date
}

export interface OffsetClock extends Clock {
  /** @param offsetMs as in auth.clock_offset */
  follow(offsetMs: number): void
}

export function systemClock(): OffsetClock {
  let offset = 0
  return {
    now: () => new Date(Date.now() + offset),
    follow: (offsetMs) => {
      offset = offsetMs
    },
  }
}

/** Milliseconds since some fixed moment, for durations. */
export function monotonicMs(): number {
  return performance.now()
}
