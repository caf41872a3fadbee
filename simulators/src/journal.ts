/**
 * What a provider has seen and sent, for tests to count: requests per route, token requests per grant,
 * handshakes, pushes. Bounded; the counters go on when the lists are full. It holds no bodies.
 */

const longestList = 5_000

export interface Handshake {
  at: string
  url: string
  kind: 'notification' | 'lifecycle'
  outcome: string
  status: number | null
  latencyMs: number
}

export interface Attempt {
  at: string
  deliveryId: string
  url: string
  attempt: number
  /** `null`: no answer in time, or no connection. */
  status: number | null
  latencyMs: number
  acknowledged: boolean
}

export interface Journal {
  requests: Record<string, number>
  tokenRequests: Record<string, number>
  authorizations: { approved: number; denied: number; deadEnds: number }
  revocations: number
  reauthorizeConflicts: number
  handshakes: Handshake[]
  pushes: { sent: number; acknowledged: number; failed: number; attempts: Attempt[] }
}

export function createJournal(): Journal {
  return {
    requests: {},
    tokenRequests: {},
    authorizations: { approved: 0, denied: 0, deadEnds: 0 },
    revocations: 0,
    reauthorizeConflicts: 0,
    handshakes: [],
    pushes: { sent: 0, acknowledged: 0, failed: 0, attempts: [] },
  }
}

export function clearJournal(journal: Journal): void {
  Object.assign(journal, createJournal())
}

export function countUp(counters: Record<string, number>, name: string): void {
  counters[name] = (counters[name] ?? 0) + 1
}

export function noteHandshake(journal: Journal, handshake: Handshake): void {
  keep(journal.handshakes, handshake)
}

export function noteAttempt(journal: Journal, attempt: Attempt): void {
  journal.pushes.sent += 1
  if (attempt.acknowledged) journal.pushes.acknowledged += 1
  else journal.pushes.failed += 1
  keep(journal.pushes.attempts, attempt)
}

function keep<Item>(list: Item[], item: Item): void {
  list.push(item)
  if (list.length > longestList) list.shift()
}
