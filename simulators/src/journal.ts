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

export interface Call extends Moment {
  /** Whether it changes something, reads, or lists what an application has subscribed. */
  kind: 'change' | 'read' | 'list'
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
  /** Requests with an access token, answered or not. */
  calls: Call[]
  authorizations: { approved: number; denied: number; deadEnds: number }
  revocations: number
  reauthorizeConflicts: number
  /** Calls about leases that are held now (lease-calls.ts). */
  holding: number
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
    holding: 0,
    slowed: 0,
    dropped: 0,
    handshakes: [],
    pushes: { sent: 0, acknowledged: 0, failed: 0, attempts: [] },
  }
}

export function clearJournal(journal: Journal): void {
  Object.assign(journal, { ...createJournal(), holding: journal.holding })
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

export function noteCall(journal: Journal, call: Call): void {
  keep(journal.calls, call, longestCallLog)
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
