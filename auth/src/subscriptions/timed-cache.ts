/**
 * A bounded cache of answers that were computed, not asked: kept for one fixed time each, oldest first out. `undefined`
 * is never kept. Holds no timers and makes no promises, because it stands in the way of every notification.
 */
export class TimedCache<V extends NonNullable<unknown>> {
  readonly #entries = new Map<string, { readonly value: V; readonly until: number }>()
  readonly #size: number
  readonly #keepMs: number
  readonly #now: () => number

  constructor(size: number, keepMs: number, monotonicMs: () => number) {
    this.#size = size
    this.#keepMs = keepMs
    this.#now = monotonicMs
  }

  read(key: string, compute: () => V | undefined): V | undefined {
    const entry = this.#entries.get(key)
    if (entry !== undefined && entry.until > this.#now()) return entry.value
    const value = compute()
    // deleted first, so that what is renewed moves to the end
    this.#entries.delete(key)
    if (value === undefined) return undefined
    this.#entries.set(key, { value, until: this.#now() + this.#keepMs })
    const oldest = this.#entries.keys().next().value
    if (this.#entries.size > this.#size && oldest !== undefined) this.#entries.delete(oldest)
    return value
  }
}
