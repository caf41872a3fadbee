/**
 * What the fuzz test needs of one verifier: genuine requests, the real `judge`, and a reading of its own that says
 * from the bytes alone what of a request may be believed. The readings share no code with what they judge.
 */
import type { NotificationRequest, Verdict } from '../../src/provider.ts'
import type { JsonMutation } from './json-mutation.ts'
import type { Strangers } from './request-mutation.ts'

export interface Draw {
  /** Which genuine request. */
  readonly pick: number
  /** What its issuer says instead, rightly signed; for verifiers without signed claims it means nothing. */
  readonly claims: readonly JsonMutation[]
  /** Signed with a key that is not the provider's. */
  readonly forged: boolean
}

export interface Verifier {
  readonly name: string
  readonly strangers: Strangers
  /** @returns a request that is genuine when `draw` has neither claims nor a forger */
  make(draw: Draw): NotificationRequest
  judge(request: NotificationRequest): Promise<Verdict>
  /**
   * @returns labels of what may be believed of this request (as `believed` makes them), or undefined when nothing
   * proves it and it must not be accepted at all
   */
  mayBelieve(request: NotificationRequest): readonly string[] | undefined
  close(): Promise<void>
}

/** @returns what a verdict makes of a request; undefined when it accepts nothing */
export function believed(verdict: Verdict): readonly string[] | undefined {
  switch (verdict.kind) {
    case 'rejected':
      // not accepted, but a channel is ended because of it: that needs proof too
      return verdict.orphan === undefined
        ? undefined
        : [`orphan ${verdict.orphan.subscriptionId} ${verdict.orphan.providerSubscriptionId}`]
    case 'unavailable':
      return undefined
    case 'handshake':
      return [`handshake ${verdict.body}`]
    case 'signals':
      return verdict.signals.map((signal) => `signal ${signal.id} of ${signal.accountKey}`)
    case 'verified':
      return verdict.facts.map(({ connectionId, subscriptionId, data: { resourceData } }) => {
        const content = resourceData === undefined ? '' : ` with ${JSON.stringify(resourceData)}`
        return `fact of ${connectionId} ${subscriptionId}${content}`
      })
    default:
      return verdict satisfies never
  }
}

/** Reads more than a verifier should: invalid UTF-8 replaced, a BOM ignored. @returns undefined without JSON or with a key said twice */
export function lenientJson(bytes: Uint8Array): unknown {
  const text = new TextDecoder().decode(bytes)
  try {
    const value: unknown = JSON.parse(text)
    const said = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/gs)].filter(
      (found) => found[1] !== undefined,
    ).length
    return said === keysIn(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Without recursion: the nesting may be deep. */
function keysIn(value: unknown): number {
  const open = [value]
  let count = 0
  for (let next = open.pop(); open.length > 0 || next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue
    const inner: unknown[] = Object.values(next)
    if (!Array.isArray(next)) count += inner.length
    for (const child of inner) if (child !== undefined) open.push(child)
  }
  return count
}

export function own(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}
