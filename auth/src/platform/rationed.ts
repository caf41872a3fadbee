/**
 * A reading that may cost a lot, for those who look again and again: what took long is told again for twenty times as
 * long before it is read anew, so that looking takes a twentieth of the time at most, however many look. What is quick is
 * always read. One reading at a time; a failure is told again like a result.
 */
const QUICK_MS = 50
const TIMES = 20

/**
 * @param monotonicMs milliseconds of a clock that never goes back
 * @param read by key; keys are few (what is remembered is dropped with the next reading after its time)
 */
export function rationed<T>(
  monotonicMs: () => number,
  read: (key: string) => Promise<T>,
): (key: string) => Promise<T> {
  const known = new Map<string, { readonly reading: Promise<T>; until: number }>()
  let last: Promise<unknown> = Promise.resolve()
  const readOne = async (key: string): Promise<T> => {
    const began = monotonicMs()
    try {
      return await read(key)
    } finally {
      const took = monotonicMs() - began
      const entry = known.get(key)
      if (took < QUICK_MS) known.delete(key)
      else if (entry !== undefined) entry.until = monotonicMs() + TIMES * took
    }
  }
  return (key) => {
    const now = monotonicMs()
    for (const [other, { until }] of known) if (until <= now) known.delete(other)
    const entry = known.get(key)
    if (entry !== undefined) return entry.reading
    const reading = last.then(() => readOne(key))
    // the next one waits for it, whatever becomes of it
    last = reading.catch(() => undefined)
    known.set(key, { reading, until: Number.POSITIVE_INFINITY })
    return reading
  }
}
