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

/** A row of the provider's failure table (`GET /failure-rows`), answered by the token endpoint. */
export interface RowFault {
  row: string
  /** Only requests of this grant type; `null` for all. */
  grant: string | null
  retryAfter: string | null
  times: number | null
}

/** Who may not consent alone: a person of a work tenant that is no administrator (protocols/microsoft.md §1.3). */
export interface AdminRule {
  /** The scopes that only an administrator may grant; `null` for every one of Graph. */
  scopes: string[] | null
  code: 65001 | 90008 | 90094 | 90095
  /** Where the refusal is told: to the redirect URI, on Microsoft's own page, or by the token endpoint. */
  at: 'callback' | 'page' | 'token'
  /** What the callback says: the document does not settle it (protocols/microsoft.md §1.2, §1.3). */
  error: 'consent_required' | 'access_denied' | 'interaction_required'
}

/** Calls of this kind wait, before they are carried out or before they are answered, until it is cleared. */
export interface LeaseHold {
  what: 'create' | 'renew' | 'stop' | 'any'
  at: 'before' | 'after'
}

export interface Faults {
  denyConsent: boolean
  /** Only these of the asked API scopes are granted; the OpenID scopes always are. */
  grantScopes: string[] | null
  tokenError: FixedAnswer | null
  tokenDelayMs: number
  /** Connection reset on the token endpoint: `true` until cleared, or so many times. */
  tokenDrop: boolean | number
  tokenFault: RowFault | null
  /** The token request is carried out, but the connection is cut before the answer. */
  tokenLost: boolean | number
  /** Microsoft: a refresh token that was used is dead, unlike the real one (protocols/microsoft.md §1.5). */
  strictRotation: boolean
  /** Google's `/revoke`: an answer without effect, and an effect without answer. */
  revokeError: FixedAnswer | null
  revokeLost: boolean | number
  /** Answer of every call of an API with a bearer token: throttling, outages. */
  apiError: FixedAnswer | null
  /** Graph: how many answers in ten minutes are enough to judge an endpoint, and what its ten minutes shrink to. */
  endpointStateAfter: number
  slowDelayMs: number
  /** Graph: the allowances of the first attempt and of the repeats, instead of 3 s and 10 s. */
  pushTimeoutsMs: [number, number] | null
  /** Graph: deliveries wait while the access token behind a subscription is over. */
  pauseOnTokenExpiry: boolean
  /** Whatever is pushed is lost without a trace. */
  losePushes: boolean
  /** Google's channels: the sync message arrives before the answer to the watch call. */
  syncFirst: boolean
  expirationAs: 'string' | 'number'
  /** Where downloads are redirected to, instead of the simulator's own download address. */
  redirectTo: string | null
  /** A refresh answers with only these API scopes: some were withdrawn in the meantime. */
  refreshScopes: string[] | null
  /** Microsoft: how the scopes of an answer are spelled. */
  scopeSpelling: 'qualified' | 'short'
  /** Microsoft: the answer names everything the account has consented to, not only what was asked. */
  scopeUnion: boolean
  requireAdmin: AdminRule | null
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
  /** Answer of every renewal of a Graph subscription. */
  renewalError: FixedAnswer | null
  /** A subscription or channel is made, prolonged or ended, but the connection is cut before the answer. */
  leaseLost: boolean | number
  holdLease: LeaseHold | null
  jwksDown: boolean
  /** Seconds that a new access token lives, instead of the provider's own. */
  expiresIn: number | null
  /** Google in "Testing": seconds that a new refresh token lives, also told in the answer. */
  refreshTokenExpiresIn: number | null
  /** Graph: accept the same changeType and resource twice instead of 409. */
  duplicateSubscriptions: boolean
  /** Graph: the form of the tokens beside resource data, or none because the tenant was not set up for them. */
  validationTokensAs: 'v1' | 'v2' | 'null'
  /** Graph: items as the page shows them, or with the spellings and members that were met in the field. */
  itemsAs: 'documented' | 'seen'
  /** Graph: each consent of one account counts as a mailbox of its own: it stands for many in a test of many. */
  oneStandsForMany: boolean
  /** What a client remembers is too old: `startHistoryId` (404), sync and delta tokens (410). */
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
    tokenFault: null,
    tokenLost: false,
    strictRotation: false,
    revokeError: null,
    revokeLost: false,
    apiError: null,
    endpointStateAfter: 100,
    slowDelayMs: 2_000,
    pushTimeoutsMs: null,
    pauseOnTokenExpiry: false,
    losePushes: false,
    syncFirst: false,
    expirationAs: 'string',
    redirectTo: null,
    refreshScopes: null,
    scopeSpelling: 'qualified',
    scopeUnion: false,
    requireAdmin: null,
    down: false,
    issMode,
    declareIss: false,
    idToken: null,
    noRefreshToken: false,
    skipConsent: false,
    subscriptionError: null,
    renewalError: null,
    leaseLost: false,
    holdLease: null,
    jwksDown: false,
    expiresIn: null,
    refreshTokenExpiresIn: null,
    duplicateSubscriptions: false,
    validationTokensAs: 'v2',
    itemsAs: 'documented',
    oneStandsForMany: false,
    historyExpired: false,
    historyIdAs: 'number',
  }
}

/** Takes one use of a fixed answer; `null` when it is not (or no longer) set. */
export function takeAnswer(
  faults: Faults,
  name: 'tokenError' | 'subscriptionError' | 'renewalError' | 'revokeError' | 'apiError',
): FixedAnswer | null {
  const answer = faults[name]
  if (answer === null) return null
  if (answer.times !== null) {
    answer.times -= 1
    if (answer.times <= 0) faults[name] = null
  }
  return answer
}

/** Takes one use of the row that fits the grant type. */
export function takeRow(faults: Faults, grant: string): RowFault | null {
  const fault = faults.tokenFault
  if (fault === null || (fault.grant !== null && fault.grant !== grant)) return null
  if (fault.times !== null) {
    fault.times -= 1
    if (fault.times <= 0) faults.tokenFault = null
  }
  return fault
}

/** Takes one use of a switch that is on until cleared, or so many times. */
export function takeTurn(
  faults: Faults,
  name: 'tokenDrop' | 'tokenLost' | 'revokeLost' | 'leaseLost',
): boolean {
  const turns = faults[name]
  if (typeof turns === 'boolean') return turns
  if (turns <= 0) return false
  faults[name] = turns - 1
  return true
}
