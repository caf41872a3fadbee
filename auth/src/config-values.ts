/**
 * Single values of the configuration, read and checked. Pure: text in, value out, mistakes as sentences that name the
 * variable and never repeat what it held.
 */
import type { BlockList } from 'node:net'
import { Secret } from '@flovify/providers'
import { ADDRESSES, readAddresses, readProxies, type TrustedProxies } from './http/client-address.ts'

export type Mode = 'production' | 'local'
export type RunRole = 'all' | 'door' | 'work'

export interface PlatformJwt {
  /** HS256 */
  readonly secret?: Secret
  /** RS256, ES256, EdDSA */
  readonly jwksUrl?: string
  readonly issuer: string
  readonly audience: string
  readonly userClaim: string
  /** `name` (true) or `name=value`; absent: nobody becomes admin by the JWT */
  readonly adminClaim?: string
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]']

/** Notes a mistake. */
type Wrong = (sentence: string) => undefined
type Text = (name: string) => string | undefined

export function readMode(value: string | undefined, wrong: Wrong): Mode {
  if (value === undefined || value === 'production') return 'production'
  if (value === 'local') return 'local'
  wrong('AUTH_MODE must be production or local')
  return 'production'
}

export function readRole(value: string | undefined, wrong: Wrong): RunRole {
  if (value === undefined || value === 'all') return 'all'
  if (value === 'door' || value === 'work') return value
  wrong('AUTH_ROLE must be all, door or work')
  return 'all'
}

export function readCheckMinutes(value: string | undefined, wrong: Wrong): number {
  if (value === undefined) return 10
  const minutes = /^\d{1,4}$/.test(value) ? Number(value) : Number.NaN
  if (minutes >= 1 && minutes <= 1_440) return minutes
  wrong('SUBSCRIPTION_CHECK_MINUTES must be a number of minutes from 1 to 1440')
  return 10
}

export function readTrustedProxies(value: string | undefined, wrong: Wrong): TrustedProxies {
  const read = readProxies(value)
  if ('trusted' in read) return read.trusted
  wrong(`TRUSTED_PROXIES ${read.wrong}`)
  return undefined
}

/** `MICROSOFT_WEBHOOK_ADDRESSES` and its like: without knowing who is in front of us, no address could be believed. */
export function readWebhookAddresses(
  providerIds: readonly string[],
  text: (name: string) => string | undefined,
  wrong: Wrong,
): ReadonlyMap<string, BlockList> {
  const lists = new Map<string, BlockList>()
  for (const id of providerIds) {
    const name = `${id.toUpperCase().replaceAll('-', '_')}_WEBHOOK_ADDRESSES`
    const value = text(name)
    if (value === undefined) continue
    const list = readAddresses(value)
    if (list === undefined) wrong(`${name} must be ${ADDRESSES}`)
    else if (text('TRUSTED_PROXIES') === undefined)
      wrong(
        `${name} needs TRUSTED_PROXIES: the networks of your proxies, or none when clients connect directly`,
      )
    else lists.set(id, list)
  }
  return lists
}

export function readDatabaseUrl(name: string, value: string, wrong: Wrong): string {
  if (value === '') return ''
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol) || passwordOf(value) === undefined)
    wrong(`${name} is not a PostgreSQL URL: postgres://user:password@host:5432/name`)
  return value
}

/** Local mode knows loopback only; production knows https only. */
export function readOrigin(name: string, value: string, mode: Mode, wrong: Wrong): string {
  if (value === '') return ''
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (
    url === undefined ||
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== ''
  ) {
    wrong(`${name} must be an origin without path, like https://webhooks.example.com`)
    return ''
  }
  const loopback = LOOPBACK.includes(url.hostname)
  if (mode === 'local' && !loopback)
    wrong(`${name} must be a loopback origin in AUTH_MODE=local: remove AUTH_MODE for production`)
  if (mode === 'production' && url.protocol !== 'https:')
    wrong(`${name} must begin with https:// (plain http is accepted in AUTH_MODE=local only)`)
  return url.origin
}

/** Who answers there decides whose sessions are believed. */
function isTrustworthy(value: string, mode: Mode): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || url.username !== '') return false
  return (
    url.protocol === 'https:' ||
    (url.protocol === 'http:' && mode === 'local' && LOOPBACK.includes(url.hostname))
  )
}

export function readPort(name: string, value: string | undefined, fallback: number, wrong: Wrong): number {
  if (value === undefined) return fallback
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  wrong(`${name} must be a port number`)
  return fallback
}

/** `ENCRYPTION_KEY` is `k0` of the ring; `ENCRYPTION_KEYS` is `id:key,id:key`. Keys are 32 bytes in URL-safe base64. */
export function readKeys(
  single: string | undefined,
  ring: string | undefined,
  wrong: Wrong,
): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>()
  const add = (id: string, value: string, variable: string) => {
    const bytes = Buffer.from(value.replace(/=+$/, ''), 'base64url')
    if (!/^[A-Za-z0-9_-]{43}=?$/.test(value) || bytes.length !== 32)
      return wrong(
        `${variable}: key "${id}" is not 32 bytes in URL-safe base64 (44 characters): copy it whole, or, for a new database, generate one with npm run admin -- generate-key`,
      )
    if (new Set(bytes).size < 8)
      return wrong(`${variable}: key "${id}" is not random: generate one with npm run admin -- generate-key`)
    if (keys.has(id)) return wrong(`${variable}: key id "${id}" occurs twice`)
    keys.set(id, bytes)
  }
  for (const entry of ring?.split(',') ?? []) {
    const [id, value, ...rest] = entry.trim().split(':')
    if (id === undefined || value === undefined || rest.length > 0 || !/^[a-z0-9]{1,16}$/.test(id))
      wrong('ENCRYPTION_KEYS must look like k1:key,k2:key with ids of up to 16 lower-case letters and digits')
    else add(id, value, 'ENCRYPTION_KEYS')
  }
  if (single !== undefined) add('k0', single, 'ENCRYPTION_KEY')
  if (single === undefined && ring === undefined)
    wrong(
      'ENCRYPTION_KEY is missing: set it to 32 random bytes in URL-safe base64 (npm run admin -- generate-key)',
    )
  return keys
}

export function readPlatformJwt(text: Text, mode: Mode, wrong: Wrong): PlatformJwt | undefined {
  const secret = text('SESSION_SECRET')
  const jwksUrl = text('SESSION_JWKS_URL')
  if (secret === undefined && jwksUrl === undefined) return undefined
  if (secret !== undefined && jwksUrl !== undefined)
    wrong('SESSION_SECRET and SESSION_JWKS_URL exclude one another: set one')
  if (jwksUrl !== undefined && !isTrustworthy(jwksUrl, mode))
    wrong('SESSION_JWKS_URL must begin with https:// (plain http on loopback in AUTH_MODE=local only)')
  if (secret !== undefined && secret.length < 32)
    wrong('SESSION_SECRET is too short: use at least 32 characters')
  const issuer =
    text('SESSION_ISSUER') ?? wrong('SESSION_ISSUER is missing: set it to the iss of the session JWT') ?? ''
  const audience =
    text('SESSION_AUDIENCE') ??
    wrong('SESSION_AUDIENCE is missing: set it to the aud of the session JWT') ??
    ''
  const adminClaim = text('SESSION_ADMIN_CLAIM')
  return {
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
    ...(jwksUrl === undefined ? {} : { jwksUrl }),
    issuer,
    audience,
    userClaim: text('SESSION_USER_CLAIM') ?? 'sub',
    ...(adminClaim === undefined ? {} : { adminClaim }),
  }
}

const KNOWN_DEFAULTS = /^(change-?me|secret|password|test|dev|example|default)/i

/** @returns undefined when it is not percent-encoded as a URL must be */
function passwordOf(databaseUrl: string): string | undefined {
  try {
    const { password, username } = new URL(databaseUrl)
    decodeURIComponent(username)
    return decodeURIComponent(password)
  } catch {
    return undefined
  }
}

const isGuessable = (secret: string) => KNOWN_DEFAULTS.test(secret) || new Set(secret).size < 10

export function checkProduction(
  flags: string,
  given: {
    serviceSecret: string
    sessionSecret: string | undefined
    databaseUrl: string
    keys: ReadonlyMap<string, Buffer>
  },
  wrong: Wrong,
): void {
  if (given.serviceSecret !== '' && isGuessable(given.serviceSecret))
    wrong('SERVICE_SECRET is not random: generate a new one')
  if (given.sessionSecret !== undefined && isGuessable(given.sessionSecret))
    wrong('SESSION_SECRET is not random: generate a new one')
  if (given.sessionSecret !== undefined && given.sessionSecret === given.serviceSecret)
    wrong('SESSION_SECRET and SERVICE_SECRET must differ: the platform must not hold the service token')
  const databasePassword = passwordOf(given.databaseUrl) ?? ''
  const keyTexts = [...given.keys.values()].map((key) => key.toString('base64url'))
  const same = (a: string) => keyTexts.includes(a.replace(/=+$/, ''))
  if (
    same(given.serviceSecret) ||
    same(databasePassword) ||
    (databasePassword !== '' && databasePassword === given.serviceSecret)
  ) {
    wrong('ENCRYPTION_KEY, SERVICE_SECRET and the database password must differ from one another')
  }
  if (/--inspect|--heapsnapshot|--report-on/.test(flags))
    wrong(
      'the Node.js inspector, heap snapshots and reports would reveal secrets: remove these flags in production',
    )
}
