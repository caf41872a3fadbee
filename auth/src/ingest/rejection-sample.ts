/**
 * Counts the requests that were not genuine and takes a sample of them, off the way of the answer: at most one a second
 * for each provider and reason, and a few a second in all, so that a flood of forgeries is no flood of writes. Some of these
 * few are kept for what was not sampled within the last minute: a stranger who is refused for many reasons must not hide
 * one genuine sender. The counts are written once a second and tell what was not sampled. Keeps names of headers, a length
 * and a hash, never a value.
 */
import { createHash } from 'node:crypto'
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { addCounts, insertRejection, type RejectionCount } from './rejection-store.ts'

export interface RejectionNeeds {
  readonly db: Db
  readonly monotonicMs: () => number
  readonly log: Log
}

export interface Refused {
  readonly provider: string
  readonly reason: string
  readonly headerNames: readonly string[]
  /** undefined when it was not read */
  readonly body?: Buffer | undefined
  /** By the authentic `ref` of its URL, if it has one. */
  readonly subscriptionId?: string | undefined
}

export interface RejectionSample {
  /** Resolves when it is written or dropped, for tests. Never rejects. */
  take(refused: Refused): Promise<void>
  /** Writes what was counted. Never rejects. */
  close(): Promise<void>
}

const EACH_MS = 1_000
/** In all, within a second. */
const MOST_A_SECOND = 5
/** Of them, for what was sampled within the last minute; the rest suffices for 120 others a minute, more than there are. */
const MOST_AGAIN_A_SECOND = 3
const LATELY_MS = 60_000
const COUNTED_MS = 1_000
const REMEMBERED = 1_000
const NAMES = 64
const NAME = /^[\x21-\x7e]{1,64}$/

export function openRejectionSample(needs: RejectionNeeds): RejectionSample {
  const taken = new Map<string, number>()
  let second = { from: Number.NEGATIVE_INFINITY, count: 0, again: 0 }
  const counts = openCounts(needs)

  /** @returns whether there is room for one more sample of this kind */
  const isSampled = (key: string): boolean => {
    const now = needs.monotonicMs()
    const sinceMs = now - (taken.get(key) ?? Number.NEGATIVE_INFINITY)
    if (sinceMs < EACH_MS) return false
    if (now - second.from >= 1_000) second = { from: now, count: 0, again: 0 }
    const isAgain = sinceMs < LATELY_MS
    if (second.count >= MOST_A_SECOND || (isAgain && second.again >= MOST_AGAIN_A_SECOND)) return false
    second.count += 1
    if (isAgain) second.again += 1
    // in the order of their samples: who is forgotten was sampled longest ago
    taken.delete(key)
    taken.set(key, now)
    const oldest = taken.size > REMEMBERED ? taken.keys().next() : undefined
    if (oldest?.done === false) taken.delete(oldest.value)
    return true
  }

  return {
    async take({ provider, reason, headerNames, body, subscriptionId }) {
      const sampled = isSampled(`${provider}/${reason}`)
      counts.add(provider, reason, sampled)
      if (!sampled) return
      try {
        await insertRejection(needs.db, {
          provider,
          reason,
          headerNames: headerNames.filter((name) => NAME.test(name)).slice(0, NAMES),
          body: body && { bytes: body.length, sha256: createHash('sha256').update(body).digest() },
          subscriptionId,
        })
      } catch (error) {
        needs.log.warn(errorFields(error), 'a rejected request was not sampled')
      }
    },
    close: () => counts.close(),
  }
}

/** Sums of a second. What cannot be written is written with the next. */
function openCounts({ db, log }: RejectionNeeds) {
  let sums = new Map<string, RejectionCount>()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  const add = (count: RejectionCount) => {
    const key = `${count.provider}/${count.reason}`
    const { rejected = 0, sampled = 0 } = sums.get(key) ?? {}
    // reasons are fixed words; this is for a provider that breaks its word
    if (sums.size >= REMEMBERED && !sums.has(key)) return
    sums.set(key, { ...count, rejected: rejected + count.rejected, sampled: sampled + count.sampled })
    if (!isClosed) timer ??= setTimeout(() => void write(), COUNTED_MS).unref()
  }

  const write = async () => {
    clearTimeout(timer)
    timer = undefined
    const written = [...sums.values()]
    sums = new Map()
    if (written.length === 0) return
    try {
      await addCounts(db, written)
    } catch (error) {
      log.warn(errorFields(error), 'rejected requests were not counted yet')
      for (const count of written) add(count)
    }
  }

  return {
    add: (provider: string, reason: string, isSampled: boolean) =>
      add({ provider, reason, rejected: 1, sampled: isSampled ? 1 : 0 }),
    close: () => {
      isClosed = true
      return write()
    },
  }
}
