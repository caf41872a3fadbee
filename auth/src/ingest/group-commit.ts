/**
 * Group commit: many requests, one statement. A request is answered only by the commit that holds it. An idle door
 * flushes at once; a busy one waits for a running flush, at most 2 ms, so groups grow with the load by themselves. What
 * is cut off a full group goes the same way. The buffer is bounded in number and bytes; a full one refuses. Nothing here knows about HTTP or providers.
 */
import { sqlState } from '../db/sql.ts'

export type Commit = 'stored' | 'overloaded' | 'unavailable' | 'poison'

export interface GroupOptions<Item> {
  /** Stores all items in one transaction, or none. */
  readonly store: (items: readonly Item[]) => Promise<void>
  readonly sizeOf: (item: Item) => number
  /** Largest group. */
  readonly groupSize: number
  /** Largest group in bytes; a single larger item goes alone. */
  readonly groupBytes: number
  /** Statements under way at once. */
  readonly flushers: number
  readonly bufferItems: number
  readonly bufferBytes: number
  /** A request that is not committed by then is answered `unavailable`, whatever becomes of it. Milliseconds. */
  readonly answerMs: number
  readonly onGroup?: (size: number) => void
  readonly onFailure?: (error: unknown, size: number) => void
}

interface Waiting<Item> {
  readonly item: Item
  readonly bytes: number
  readonly settle: (commit: Commit) => void
  /** Already answered `unavailable`: its sender will repeat it, so it need not be stored. */
  readonly expired: () => boolean
}

const BUSY_WAIT_MS = 2

export interface GroupCommit<Item> {
  /** @param answerMs less than usual, when the request has waited elsewhere before */
  add(item: Item, answerMs?: number): Promise<Commit>
  /** Resolves when everything that was admitted is settled; nothing new is admitted. */
  close(): Promise<void>
}

export function openGroupCommit<Item>(options: GroupOptions<Item>): GroupCommit<Item> {
  let queue: Waiting<Item>[] = []
  let queuedBytes = 0
  let flushing = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let idle: (() => void) | undefined

  function schedule(): void {
    if (queue.length === 0 || flushing >= options.flushers) return
    // Requests of one tick of the event loop belong together even when the door is idle.
    if (flushing === 0) setImmediate(flush)
    else if (queue.length >= options.groupSize || queuedBytes >= options.groupBytes) flush()
    else timer ??= setTimeout(flush, BUSY_WAIT_MS)
  }

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    if (queue.length === 0 || flushing >= options.flushers) return
    const group = takeGroup()
    if (group.length === 0) {
      if (flushing === 0) idle?.()
      return
    }
    flushing += 1
    options.onGroup?.(group.length)
    storeGroup(options, group)
      .catch((error: unknown) => {
        // storeGroup settles every item itself; this is the last net
        options.onFailure?.(error, group.length)
        for (const waiting of group) waiting.settle('unavailable')
      })
      .finally(() => {
        flushing -= 1
        schedule()
        if (flushing === 0 && queue.length === 0) idle?.()
      })
    // what did not fit waits for nothing but a free flusher
    schedule()
  }

  /** The next items in order, within the limits; what nobody waits for any more is dropped on the way. */
  function takeGroup(): Waiting<Item>[] {
    const group: Waiting<Item>[] = []
    let bytes = 0
    let taken = 0
    for (const waiting of queue) {
      if (group.length >= options.groupSize) break
      if (group.length > 0 && bytes + waiting.bytes > options.groupBytes) break
      taken += 1
      queuedBytes -= waiting.bytes
      if (waiting.expired()) continue
      bytes += waiting.bytes
      group.push(waiting)
    }
    queue = queue.slice(taken)
    return group
  }

  return {
    add(item, answerMs = options.answerMs) {
      const bytes = options.sizeOf(item)
      if (closed || queue.length >= options.bufferItems || queuedBytes + bytes > options.bufferBytes)
        return Promise.resolve('overloaded')
      return new Promise<Commit>((resolve) => {
        let expired = false
        const deadline = setTimeout(() => {
          expired = true
          resolve('unavailable')
        }, answerMs)
        queue.push({
          item,
          bytes,
          settle: (commit) => {
            clearTimeout(deadline)
            resolve(commit)
          },
          expired: () => expired,
        })
        queuedBytes += bytes
        schedule()
      })
    },
    close() {
      closed = true
      if (flushing === 0 && queue.length === 0) return Promise.resolve()
      return new Promise((resolve) => {
        idle = resolve
        schedule()
      })
    },
  }
}

/** What has been tried before with the items of a group. */
interface Tried {
  readonly again?: boolean
  readonly smaller?: boolean
}

/**
 * Stores a group. A data error splits it until the bad item stands alone; one that takes longer than a statement may is
 * split once, without what nobody waits for any more: a slow database must not be asked for that as well.
 */
async function storeGroup<Item>(
  options: GroupOptions<Item>,
  group: readonly Waiting<Item>[],
  tried: Tried = {},
): Promise<void> {
  try {
    await options.store(group.map((waiting) => waiting.item))
  } catch (error) {
    const state = sqlState(error)
    if ((state === '40P01' || state === '40001') && tried.again !== true)
      return storeGroup(options, group, { ...tried, again: true })
    options.onFailure?.(error, group.length)
    const isSlow = state === STATEMENT_DEADLINE
    if (group.length > 1 && (isDataError(state) || (isSlow && tried.smaller !== true))) {
      const half = group.length >> 1
      for (const part of [group.slice(0, half), group.slice(half)]) {
        const wanted = isSlow ? part.filter((waiting) => !waiting.expired()) : part
        if (wanted.length > 0)
          await storeGroup(options, wanted, { smaller: isSlow || tried.smaller === true })
      }
      return
    }
    for (const waiting of group) waiting.settle(isDataError(state) ? 'poison' : 'unavailable')
    return
  }
  for (const waiting of group) waiting.settle('stored')
}

/** query_canceled: also what a statement ends with that takes too long. */
const STATEMENT_DEADLINE = '57014'

/** Classes 22 (data exception), 23 (integrity) and 54 (limit exceeded): the same bytes would fail again. */
function isDataError(state: string | undefined): boolean {
  return state !== undefined && /^(22|23|54)/.test(state)
}
