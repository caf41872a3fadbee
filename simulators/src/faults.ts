/**
 * The switches with which a test makes a provider misbehave. All off by default; `/reset` puts them back.
 * A switch changes what the provider answers, never what it has stored.
 */

export interface FixedAnswer {
  status: number
  body: unknown
  headers: Record<string, string>
  /** How many more times; `null` until it is cleared. */
  times: number | null
}

export interface IdTokenOverrides {
  /** A text replaces the claim, `null` leaves it out. */
  nonce?: string | null
  aud?: string | string[]
  iss?: string
  /** Seconds from now; negative for an expired token. */
  exp?: number
  sub?: string
  alg?: 'none' | 'HS256'
  kid?: string
  foreignKey?: boolean
}

export interface Faults {
  denyConsent: boolean
  /** Only these of the asked API scopes are granted; the OpenID scopes always are. */
  grantScopes: string[] | null
  tokenError: FixedAnswer | null
  tokenDelayMs: number
  /** Connection reset on the token endpoint: `true` until cleared, or so many times. */
  tokenDrop: boolean | number
  down: false | '503' | 'refuse'
  issMode: 'on' | 'off' | 'wrong'
  /** Whether discovery declares `authorization_response_iss_parameter_supported` (RFC 9207 §3). */
  declareIss: boolean
  idToken: IdTokenOverrides | null
  noRefreshToken: boolean
  /** Approves without a page: for the hinted account, the first one, or the one named. */
  skipConsent: boolean | string
  /** Answer of every subscription or watch call. */
  subscriptionError: FixedAnswer | null
  jwksDown: boolean
  /** Seconds that a new access token lives, instead of the provider's own. */
  expiresIn: number | null
  /** Google in "Testing": seconds that a new refresh token lives, also told in the answer. */
  refreshTokenExpiresIn: number | null
  /** Graph: accept the same changeType and resource twice instead of 409. */
  duplicateSubscriptions: boolean
  /** Gmail: every `startHistoryId` is too old (404). */
  historyExpired: boolean
  /** Gmail: how `historyId` is spelled in a push; real ones are numbers, the page says string. */
  historyIdAs: 'number' | 'string'
}

export function noFaults(issMode: 'on' | 'off'): Faults {
  return {
    denyConsent: false,
    grantScopes: null,
    tokenError: null,
    tokenDelayMs: 0,
    tokenDrop: false,
    down: false,
    issMode,
    declareIss: false,
    idToken: null,
    noRefreshToken: false,
    skipConsent: false,
    subscriptionError: null,
    jwksDown: false,
    expiresIn: null,
    refreshTokenExpiresIn: null,
    duplicateSubscriptions: false,
    historyExpired: false,
    historyIdAs: 'number',
  }
}

type Reader = (value: unknown) => unknown

const readers: Record<keyof Faults, Reader> = {
  denyConsent: flag,
  grantScopes: (value) => (value === null ? null : list(value)),
  tokenError: fixedAnswer,
  tokenDelayMs: count,
  tokenDrop: (value) => (typeof value === 'number' ? count(value) : flag(value)),
  down: (value) => (value === false ? false : oneOf(value, ['503', 'refuse'])),
  issMode: (value) => oneOf(value, ['on', 'off', 'wrong']),
  declareIss: flag,
  idToken: (value) => (value === null ? null : idTokenOverrides(value)),
  noRefreshToken: flag,
  skipConsent: (value) => (typeof value === 'string' ? value : flag(value)),
  subscriptionError: fixedAnswer,
  jwksDown: flag,
  expiresIn: (value) => (value === null ? null : count(value)),
  refreshTokenExpiresIn: (value) => (value === null ? null : count(value)),
  duplicateSubscriptions: flag,
  historyExpired: flag,
  historyIdAs: (value) => oneOf(value, ['number', 'string']),
}

export type FaultReading = { kind: 'read'; faults: Partial<Faults> } | { kind: 'refused'; reason: string }

/** Reads a set of switches; an unknown name or a wrong value refuses the whole set. */
export function readFaults(source: Record<string, unknown>): FaultReading {
  const faults: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(source)) {
    if (!Object.hasOwn(readers, name)) return { kind: 'refused', reason: `no switch ${name}` }
    const read = readers[name as keyof Faults](value)
    if (read === undefined) return { kind: 'refused', reason: `wrong value for ${name}` }
    faults[name] = read
  }
  return { kind: 'read', faults }
}

/** Takes one use of a fixed answer; `null` when it is not (or no longer) set. */
export function takeAnswer(faults: Faults, name: 'tokenError' | 'subscriptionError'): FixedAnswer | null {
  const answer = faults[name]
  if (answer === null) return null
  if (answer.times !== null) {
    answer.times -= 1
    if (answer.times <= 0) faults[name] = null
  }
  return answer
}

export function takeDrop(faults: Faults): boolean {
  if (typeof faults.tokenDrop === 'boolean') return faults.tokenDrop
  if (faults.tokenDrop <= 0) return false
  faults.tokenDrop -= 1
  return true
}

function flag(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : undefined
}

function oneOf(value: unknown, allowed: string[]): string | undefined {
  return typeof value === 'string' && allowed.includes(value) ? value : undefined
}

function list(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined
}

function fixedAnswer(value: unknown): FixedAnswer | null | undefined {
  if (value === null) return null
  if (typeof value !== 'object') return undefined
  const { status, body, headers, times } = { ...value } as Record<string, unknown>
  if (typeof status !== 'number' || status < 200 || status > 599) return undefined
  if (times !== undefined && (count(times) ?? 0) < 1) return undefined
  const given = typeof headers === 'object' && headers !== null ? Object.entries(headers) : []
  return {
    status,
    body: body ?? {},
    headers: Object.fromEntries(given.map(([name, text]) => [name, String(text)])),
    times: typeof times === 'number' ? times : null,
  }
}

const overrideNames = ['nonce', 'aud', 'iss', 'exp', 'sub', 'alg', 'kid', 'foreignKey']

function idTokenOverrides(value: unknown): IdTokenOverrides | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const source: Record<string, unknown> = { ...value }
  if (Object.keys(source).some((name) => !overrideNames.includes(name))) return undefined
  if (source.exp !== undefined && typeof source.exp !== 'number') return undefined
  if (source.alg !== undefined && source.alg !== 'none' && source.alg !== 'HS256') return undefined
  return source
}
