/**
 * Judges the service token: SERVICE_SECRET, compared as SHA-256 in constant time, or the token of a named caller, found
 * by its SHA-256. What was found is believed for two seconds, so a revoked token is refused within that. Failures are
 * bounded per peer, so that guessing is slow and visible. Keeps no token.
 */
import { looksLikeToken, type NamedCaller } from '../callers/caller.ts'
import { sameBytes, sha256 } from '../platform/ids.ts'
import type { Log } from '../platform/log.ts'

export type GateVerdict =
  | { readonly kind: 'full' }
  | { readonly kind: 'named'; readonly caller: NamedCaller }
  | { readonly kind: 'refused' }
  | { readonly kind: 'throttled' }

export interface ServiceGate {
  /** @throws when a named caller has to be looked up and the database is away */
  judge(presented: string | string[] | undefined, peer: string): Promise<GateVerdict>
}

export interface ServiceGateNeeds {
  readonly serviceSecret: string
  readonly caller: (token: string) => Promise<NamedCaller | undefined>
  readonly monotonicMs: () => number
  readonly log: Log
}

const FAILURES = 20
const WINDOW_MS = 60_000
const PEERS = 10_000
const BELIEVED_MS = 2_000
const REMEMBERED = 1_000

export function openServiceGate(needs: ServiceGateNeeds): ServiceGate {
  const wanted = sha256(needs.serviceSecret)
  const failures = new Map<string, { count: number; since: number }>()
  const found = new Map<string, { caller: NamedCaller; at: number }>()

  async function callerOf(token: string): Promise<NamedCaller | undefined> {
    const key = sha256(token).toString('base64')
    const known = found.get(key)
    const now = needs.monotonicMs()
    if (known !== undefined && now - known.at < BELIEVED_MS) return known.caller
    // believed from the moment of the question, not of the answer
    const caller = await needs.caller(token)
    found.delete(key)
    if (found.size >= REMEMBERED) found.clear()
    if (caller !== undefined) found.set(key, { caller, at: now })
    return caller
  }

  function failed(peer: string): GateVerdict {
    const now = needs.monotonicMs()
    const record = failures.get(peer)
    const current = record !== undefined && now - record.since < WINDOW_MS ? record : { count: 0, since: now }
    if (failures.size >= PEERS) failures.clear()
    failures.set(peer, { ...current, count: current.count + 1 })
    if (current.count === FAILURES)
      needs.log.error({ peer }, 'alarm: somebody is guessing service tokens; this peer is throttled')
    return { kind: current.count >= FAILURES ? 'throttled' : 'refused' }
  }

  return {
    async judge(presented, peer) {
      // A throttled peer with the right token is admitted: a guesser beside it must not lock the others out.
      if (typeof presented !== 'string') return failed(peer)
      if (sameBytes(sha256(presented), wanted)) return { kind: 'full' }
      if (!looksLikeToken(presented)) return failed(peer)
      const caller = await callerOf(presented)
      return caller === undefined ? failed(peer) : { kind: 'named', caller }
    },
  }
}
