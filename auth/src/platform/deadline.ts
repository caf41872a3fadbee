/**
 * A deadline around work that leaves the process. The signal tells the work to stop; the caller goes on at the deadline
 * also when the work does not listen. Never retries. Real time: tests do not move it.
 */

export type InTime<T> = { readonly kind: 'answered'; readonly value: T } | { readonly kind: 'late' }

/**
 * @param outer ends the work too (a lost lease, a drain); then the outcome is `late`
 * @throws what the work throws before the deadline
 */
export async function withDeadline<T>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<InTime<T>> {
  const timeout = new AbortController()
  const signal = outer === undefined ? timeout.signal : AbortSignal.any([timeout.signal, outer])
  const timer = setTimeout(() => timeout.abort(), ms)
  try {
    const late = new Promise<InTime<T>>((resolve) => {
      if (signal.aborted) resolve({ kind: 'late' })
      signal.addEventListener('abort', () => resolve({ kind: 'late' }), { once: true })
    })
    const answered = work(signal).then((value): InTime<T> => ({ kind: 'answered', value }))
    return await Promise.race([
      late,
      // what fails because it was told to stop is late, not broken
      answered.catch((error: unknown): InTime<T> => {
        if (signal.aborted) return { kind: 'late' }
        throw error
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}
