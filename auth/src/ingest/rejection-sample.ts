/**
 * Takes a sample of the requests that were not genuine, off the way of the answer: at most one a second for each provider
 * and reason, and a few a second in all, so that a flood of forgeries is no flood of writes. All of them are counted as a
 * metric; what is not sampled is forgotten. Keeps names of headers, a length and a hash, never a value.
 */
import { createHash } from 'node:crypto'
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { insertRejection } from './rejection-store.ts'

export interface RejectionNeeds {
  readonly db: Db
  readonly monotonicMs: () => number
  readonly log: Log
}

/** @param body undefined when it was not read. Resolves when it is written or dropped, for tests. Never rejects. */
export type SampleRejection = (
  provider: string,
  reason: string,
  headerNames: readonly string[],
  body: Buffer | undefined,
) => Promise<void>

const EACH_MS = 1_000
/** In all, within a second. */
const MOST_A_SECOND = 5
const REMEMBERED = 1_000
const NAMES = 64
const NAME = /^[\x21-\x7e]{1,64}$/

export function openRejectionSample(needs: RejectionNeeds): SampleRejection {
  const taken = new Map<string, number>()
  let second = { from: Number.NEGATIVE_INFINITY, count: 0 }
  return async (provider, reason, headerNames, body) => {
    const now = needs.monotonicMs()
    const key = `${provider}/${reason}`
    if (now - (taken.get(key) ?? Number.NEGATIVE_INFINITY) < EACH_MS) return
    if (now - second.from >= 1_000) second = { from: now, count: 0 }
    if (second.count >= MOST_A_SECOND) return
    second.count += 1
    if (taken.size >= REMEMBERED) taken.clear()
    taken.set(key, now)
    try {
      await insertRejection(needs.db, {
        provider,
        reason,
        headerNames: headerNames.filter((name) => NAME.test(name)).slice(0, NAMES),
        body: body && { bytes: body.length, sha256: createHash('sha256').update(body).digest() },
      })
    } catch (error) {
      needs.log.warn(errorFields(error), 'a rejected request was not sampled')
    }
  }
}
