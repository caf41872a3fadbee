/**
 * Reads the switches of faults.ts from JSON. An unknown name or a wrong value refuses the whole set, so that a
 * test never believes in a fault that was not set.
 */
import type { AdminRule, Faults, FixedAnswer, IdTokenOverrides, LeaseHold, RowFault } from './faults.ts'

type Reader = (value: unknown) => unknown

const readers: Record<keyof Faults, Reader> = {
  denyConsent: flag,
  grantScopes: (value) => (value === null ? null : list(value)),
  tokenError: fixedAnswer,
  tokenDelayMs: count,
  tokenDrop: turns,
  tokenFault: (value) => (value === null ? null : rowFault(value)),
  tokenLost: turns,
  strictRotation: flag,
  revokeError: fixedAnswer,
  revokeLost: turns,
  apiError: fixedAnswer,
  endpointStateAfter: count,
  slowDelayMs: count,
  pushTimeoutsMs: (value) => (value === null ? null : pair(value)),
  pauseOnTokenExpiry: flag,
  losePushes: flag,
  syncFirst: flag,
  expirationAs: (value) => oneOf(value, ['number', 'string']),
  redirectTo: (value) => (value === null || typeof value === 'string' ? value : undefined),
  refreshScopes: (value) => (value === null ? null : list(value)),
  scopeSpelling: (value) => oneOf(value, ['qualified', 'short']),
  scopeUnion: flag,
  requireAdmin: (value) => (value === null ? null : adminRule(value)),
  down: (value) => (value === false ? false : oneOf(value, ['503', 'refuse'])),
  issMode: (value) => oneOf(value, ['on', 'off', 'wrong']),
  declareIss: flag,
  idToken: (value) => (value === null ? null : idTokenOverrides(value)),
  noRefreshToken: flag,
  skipConsent: (value) => (typeof value === 'string' ? value : flag(value)),
  subscriptionError: fixedAnswer,
  renewalError: fixedAnswer,
  leaseLost: turns,
  holdLease: (value) => (value === null ? null : leaseHold(value)),
  jwksDown: flag,
  expiresIn: (value) => (value === null ? null : count(value)),
  refreshTokenExpiresIn: (value) => (value === null ? null : count(value)),
  duplicateSubscriptions: flag,
  validationTokensAs: (value) => oneOf(value, ['v1', 'v2', 'null']),
  itemsAs: (value) => oneOf(value, ['documented', 'seen']),
  oneStandsForMany: flag,
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

function flag(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined
}

function pair(value: unknown): [number, number] | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined
  const [first, second] = [count(value[0]), count(value[1])]
  return first === undefined || second === undefined ? undefined : [first, second]
}

function turns(value: unknown): boolean | number | undefined {
  return typeof value === 'number' ? count(value) : flag(value)
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

function rowFault(value: unknown): RowFault | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { row, grant, retryAfter, times } = { ...value } as Record<string, unknown>
  if (typeof row !== 'string' || (times !== undefined && (count(times) ?? 0) < 1)) return undefined
  if (grant !== undefined && grant !== 'refresh_token' && grant !== 'authorization_code') return undefined
  return {
    row,
    grant: grant ?? null,
    retryAfter: retryAfter === undefined ? null : String(retryAfter),
    times: typeof times === 'number' ? times : null,
  }
}

function adminRule(value: unknown): AdminRule | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const given = { ...value } as Record<string, unknown>
  const { scopes = null, code = 90094, at = 'callback', error = 'consent_required' } = given
  if (error !== 'consent_required' && error !== 'access_denied' && error !== 'interaction_required') {
    return undefined
  }
  if (code !== 65001 && code !== 90008 && code !== 90094 && code !== 90095) return undefined
  if (at !== 'callback' && at !== 'page' && at !== 'token') return undefined
  if (scopes === null) return { scopes, code, at, error }
  const names = list(scopes)
  return names === undefined ? undefined : { scopes: names, code, at, error }
}

function leaseHold(value: unknown): LeaseHold | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { what, at } = { ...value } as Record<string, unknown>
  if (what !== 'create' && what !== 'renew' && what !== 'stop' && what !== 'any') return undefined
  return at === 'before' || at === 'after' ? { what, at } : undefined
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
