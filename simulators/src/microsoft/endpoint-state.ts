/**
 * Graph's slow and drop states (protocols/microsoft.md §2.4): endpoints whose answers come too late get new
 * notifications ten minutes later, or not at all. It measures and decides; sending is the postman's.
 */
import type { Faults } from '../faults.ts'

export type EndpointState = 'normal' | 'slow' | 'drop'

interface Answer {
  at: number
  overFirst: boolean
  overRepeat: boolean
}

interface Endpoint {
  answers: Answer[]
  state: EndpointState
  /** Until then nothing is judged again; afterwards a few notifications go out as probes. */
  until: number
}

export interface EndpointStates {
  /** How a new notification to this URL is to be treated now. */
  stateOf(url: string): EndpointState
  /** @param late the attempt had no answer within its allowance */
  note(url: string, attempt: number, late: boolean): void
  list(): Record<string, EndpointState>
  clear(): void
}

const windowMs = 600_000
const slowAbove = 0.1
const dropAbove = 0.15
/** "Every 10 minutes a few are probed": so many answers are enough to judge then. */
const probes = 3

/** The text leaves open whether an endpoint is a URL or a host; the host is the harder reading. */
export function createEndpointStates(faults: Faults, now: () => number): EndpointStates {
  const endpoints = new Map<string, Endpoint>()
  const find = (url: string): Endpoint => {
    const { host } = new URL(url)
    const known = endpoints.get(host) ?? { answers: [], state: 'normal' as const, until: 0 }
    endpoints.set(host, known)
    return known
  }
  const judge = (endpoint: Endpoint) => {
    const at = now()
    endpoint.answers = endpoint.answers.filter((answer) => answer.at > at - windowMs)
    if (at < endpoint.until) return
    const enough = endpoint.state === 'normal' ? faults.endpointStateAfter : probes
    if (endpoint.answers.length < enough) return
    const share = (late: (answer: Answer) => boolean) =>
      endpoint.answers.filter(late).length / endpoint.answers.length
    const state = stateFor(
      share((answer) => answer.overFirst),
      share((answer) => answer.overRepeat),
    )
    if (state !== 'normal') endpoint.until = at + windowMs
    if (state !== 'normal' || endpoint.state !== 'normal') endpoint.answers = []
    endpoint.state = state
  }
  return {
    stateOf(url) {
      const endpoint = find(url)
      judge(endpoint)
      return now() < endpoint.until ? endpoint.state : 'normal'
    },
    note(url, attempt, late) {
      const endpoint = find(url)
      endpoint.answers.push({ at: now(), overFirst: late, overRepeat: late && attempt > 1 })
      judge(endpoint)
    },
    list: () => Object.fromEntries([...endpoints].map(([host, endpoint]) => [host, endpoint.state])),
    clear: () => endpoints.clear(),
  }
}

function stateFor(overFirst: number, overRepeat: number): EndpointState {
  if (overRepeat > dropAbove) return 'drop'
  return overFirst > slowAbove ? 'slow' : 'normal'
}
