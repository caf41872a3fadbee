/**
 * What a provider has seen and sent, for tests to count: requests per route, token requests per grant,
 * handshakes, pushes. Bounded; the counters go on when the lists are full. It holds no bodies and no secrets.
 */

const longestList = 5_000
const longestTokenLog = 100_000
const longestCallLog = 200_000

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

export interface Moment {
  /** Real milliseconds since 1970, whatever the simulated clock says: rates are counted with it. */
  atMs: number
}

export interface TokenRequest extends Moment {
  grant: string
  /** `null`: not answered, or not yet. */
  status: number | null
  /** The first 16 hex digits of the SHA-256 of the code or refresh token, to tell repetitions. */
  credential: string | null
}

export interface ApiRequest {
  at: string
  method: string
  path: string
  /** Names only, lower-case: values may be secrets. */
  headers: string[]
  authorization: boolean
  bodyBytes: number
}

export interface Journal {
  requests: Record<string, number>
  tokenRequests: Record<string, number>
  tokenLog: TokenRequest[]
  apiRequests: ApiRequest[]
  /** When requests with an access token arrived, answered or not: real milliseconds since 1970. */
  calls: Moment[]
  authorizations: { approved: number; denied: number; deadEnds: number }
  revocations: number
  reauthorizeConflicts: number
  /** Graph: notifications delayed in the slow state, and lost in the drop state. */
  slowed: number
  dropped: number
  handshakes: Handshake[]
  pushes: { sent: number; acknowledged: number; failed: number; attempts: Attempt[] }
}

export function createJournal(): Journal {
  return {
    requests: {},
    tokenRequests: {},
    tokenLog: [],
    apiRequests: [],
    calls: [],
    authorizations: { approved: 0, denied: 0, deadEnds: 0 },
    revocations: 0,
    reauthorizeConflicts: 0,
    slowed: 0,
    dropped: 0,
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

export function noteTokenRequest(journal: Journal, request: TokenRequest): void {
  keep(journal.tokenLog, request, longestTokenLog)
}

export function noteApiRequest(journal: Journal, request: ApiRequest): void {
  keep(journal.apiRequests, request)
}

export function noteCall(journal: Journal, atMs: number): void {
  keep(journal.calls, { atMs }, longestCallLog)
}

/** The most requests within any second, by a sliding window. */
export function peakPerSecond(requests: readonly Moment[]): number {
  let from = 0
  let peak = 0
  for (const [index, request] of requests.entries()) {
    while ((requests[from]?.atMs ?? request.atMs) <= request.atMs - 1_000) from += 1
    peak = Math.max(peak, index - from + 1)
  }
  return peak
}

function keep<Item>(list: Item[], item: Item, longest = longestList): void {
  list.push(item)
  if (list.length > longest) list.shift()
}
