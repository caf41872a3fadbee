/**
 * How long a row waits whose work threw: each time in a row twice as long. It is kept in this process alone, and a
 * failure that another process saw is not counted: it spares others, it promises nothing.
 */

const FIRST_SECONDS = 5
const MOST_SECONDS = 300
/** Rows that are remembered; the one that failed longest ago is forgotten beyond it. */
const REMEMBERED = 10_000

export interface FailureDelay {
  /** @returns seconds until it is due again */
  failed(id: string): number
  ended(id: string): void
}

export function openFailureDelay(): FailureDelay {
  const seconds = new Map<string, number>()
  return {
    failed(id) {
      const next = Math.min(MOST_SECONDS, (seconds.get(id) ?? FIRST_SECONDS / 2) * 2)
      seconds.delete(id)
      seconds.set(id, next)
      const [oldest] = seconds.keys()
      if (seconds.size > REMEMBERED && oldest !== undefined) seconds.delete(oldest)
      return next
    },
    ended: (id) => {
      seconds.delete(id)
    },
  }
}
