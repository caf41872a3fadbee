/**
 * Judges the service token: SHA-256 of both sides, compared in constant time, and a bound on failures per peer, so that
 * guessing is slow and visible. Keeps no token.
 */

import { monotonicMs } from '../platform/clock.ts'
import { sameBytes, sha256 } from '../platform/ids.ts'

export interface ServiceGate {
  judge(presented: string | string[] | undefined, peer: string): 'admitted' | 'refused' | 'throttled'
}

const FAILURES = 20
const WINDOW_MS = 60_000
const PEERS = 10_000

export function openServiceGate(secret: string): ServiceGate {
  const wanted = sha256(secret)
  const failures = new Map<string, { count: number; since: number }>()
  return {
    judge(presented, peer) {
      const now = monotonicMs()
      const record = failures.get(peer)
      const current = record !== undefined && now - record.since < WINDOW_MS ? record : undefined
      // A throttled peer with the right token is admitted: a guesser beside it must not lock the BFF out.
      if (typeof presented === 'string' && sameBytes(sha256(presented), wanted)) return 'admitted'
      if (failures.size >= PEERS) failures.clear()
      failures.set(
        peer,
        current === undefined ? { count: 1, since: now } : { ...current, count: current.count + 1 },
      )
      return (current?.count ?? 0) >= FAILURES ? 'throttled' : 'refused'
    },
  }
}
