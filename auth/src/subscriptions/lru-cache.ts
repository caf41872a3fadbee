/**
 * A bounded cache with a time to live for each entry: the least recently read goes first. Readers of one key share one
 * load; a failed load is not kept. Holds no timers.
 */

interface Entry<V> {
  readonly value: V
  readonly until: number
}

export class LruCache<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #loading = new Map<string, Promise<V>>()
  readonly #size: number
  readonly #now: () => number
  #generation = 0

  constructor(size: number, monotonicMs: () => number) {
    this.#size = size
    this.#now = monotonicMs
  }

  get size(): number {
    return this.#entries.size
  }

  /** Whether `read` would answer without a load that is still to begin. */
  has(key: string): boolean {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.until > this.#now()
  }

  /** @param load called when there is no entry; says how long its value may be kept */
  read(key: string, load: () => Promise<{ value: V; keepMs: number }>): Promise<V> {
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      this.#entries.delete(key)
      if (entry.until > this.#now()) {
        this.#entries.set(key, entry)
        return Promise.resolve(entry.value)
      }
    }
    const running = this.#loading.get(key)
    if (running !== undefined) return running
    const loading = this.#load(key, load).finally(() => {
      if (this.#loading.get(key) === loading) this.#loading.delete(key)
    })
    this.#loading.set(key, loading)
    return loading
  }

  /** Also what is being loaded now is not kept: it may have been read before the change. */
  dropWhere(fits: (value: V) => boolean): void {
    this.#generation += 1
    this.#loading.clear()
    for (const [key, { value }] of this.#entries) if (fits(value)) this.#entries.delete(key)
  }

  async #load(key: string, load: () => Promise<{ value: V; keepMs: number }>): Promise<V> {
    const generation = this.#generation
    const { value, keepMs } = await load()
    // what may not be kept takes nobody's place
    if (generation === this.#generation && keepMs > 0) {
      this.#entries.set(key, { value, until: this.#now() + keepMs })
      const oldest = this.#entries.keys().next().value
      if (this.#entries.size > this.#size && oldest !== undefined) this.#entries.delete(oldest)
    }
    return value
  }
}
