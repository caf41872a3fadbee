/**
 * Environment → frozen, typed configuration; the only file that reads the environment. All mistakes are found at once,
 * each a sentence that names the variable and says what to do; none of them repeats a value. Providers bring their own
 * settings schema.
 */
import { catalogue, type Environment, type ProviderModule, Secret } from '@flovify/providers'
import { type EgressAllowance, parseEgressAllow } from './delivery/egress-allow.ts'

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

export interface ConfiguredProvider {
  readonly module: ProviderModule
  readonly settings: unknown
}

export interface Config {
  readonly mode: Mode
  readonly role: RunRole
  readonly version: string
  readonly databaseUrl: string
  readonly migrationDatabaseUrl: string
  readonly serviceSecret: Secret
  /** Key ring: id → 32 bytes, in the order of the environment. */
  readonly keys: ReadonlyMap<string, Buffer>
  readonly host: string
  readonly publicPort: number
  readonly internalPort: number
  readonly webhookOrigin: string
  readonly consoleOrigin: string
  readonly typePrefix: string
  readonly egressAllow: readonly EgressAllowance[]
  readonly platformJwt: PlatformJwt | undefined
  readonly providers: readonly ConfiguredProvider[]
}

export type ConfigReading =
  | { readonly kind: 'configured'; readonly config: Config }
  | { readonly kind: 'mistakes'; readonly mistakes: readonly string[] }

/** @param environment usually `process.env` @param execArgv flags of the Node.js process, for the inspector check */
export function readConfig(
  environment: Environment,
  execArgv: readonly string[] = [],
  modules: readonly ProviderModule[] = Object.values(catalogue),
): ConfigReading {
  const mistakes: string[] = []
  const wrong = (sentence: string) => {
    mistakes.push(sentence)
    return undefined
  }
  const text = (name: string) => environment[name]?.trim() || undefined
  const required = (name: string, what: string) =>
    text(name) ?? wrong(`${name} is missing: set it to ${what}`) ?? ''

  const mode = readMode(text('AUTH_MODE'), wrong)
  const role = readRole(text('AUTH_ROLE'), wrong)
  const databaseUrl = readDatabaseUrl(
    'DATABASE_URL',
    required('DATABASE_URL', 'a PostgreSQL URL: postgres://user:password@host:5432/name'),
    wrong,
  )
  const serviceSecret = required('SERVICE_SECRET', 'at least 32 random characters')
  if (serviceSecret !== '' && serviceSecret.length < 32)
    wrong('SERVICE_SECRET is too short: use at least 32 random characters')
  const keys = readKeys(text('ENCRYPTION_KEY'), text('ENCRYPTION_KEYS'), wrong)
  const webhookOrigin = readOrigin(
    'WEBHOOK_BASE_URL',
    required('WEBHOOK_BASE_URL', 'the public origin of the webhooks, e.g. https://webhooks.example.com'),
    mode,
    wrong,
  )
  const consoleOrigin = readOrigin(
    'CONSOLE_BASE_URL',
    required('CONSOLE_BASE_URL', 'the public origin of the console, e.g. https://console.example.com'),
    mode,
    wrong,
  )
  const typePrefix = text('EVENT_TYPE_PREFIX') ?? 'ca.flovify'
  if (!/^[a-z0-9]+(\.[a-z0-9_]+)+$/.test(typePrefix))
    wrong('EVENT_TYPE_PREFIX must be a reverse DNS name like ca.flovify')
  const egress = parseEgressAllow(text('EGRESS_ALLOW') ?? '')
  for (const mistake of egress.mistakes) wrong(mistake)
  const providers: ConfiguredProvider[] = []
  for (const module of modules) {
    const reading = module.readSettings(environment, mode)
    if (reading.kind === 'on') providers.push({ module, settings: reading.settings })
    else if (reading.kind === 'invalid') mistakes.push(...reading.mistakes)
  }
  if (mode === 'production')
    checkProduction(environment, execArgv, { serviceSecret, databaseUrl, keys }, wrong)

  const config: Config = {
    mode,
    role,
    version: text('SERVICE_SEMVER') ?? '0.1.0',
    databaseUrl,
    migrationDatabaseUrl: text('MIGRATION_DATABASE_URL') ?? databaseUrl,
    serviceSecret: new Secret(serviceSecret),
    keys,
    host: mode === 'local' ? '127.0.0.1' : (text('AUTH_HOST') ?? '0.0.0.0'),
    publicPort: readPort('AUTH_PORT', text('AUTH_PORT'), 8000, wrong),
    internalPort: readPort('AUTH_INTERNAL_PORT', text('AUTH_INTERNAL_PORT'), 8001, wrong),
    webhookOrigin,
    consoleOrigin,
    typePrefix,
    egressAllow: egress.allowed,
    platformJwt: readPlatformJwt(text, wrong),
    providers,
  }
  return mistakes.length > 0
    ? { kind: 'mistakes', mistakes }
    : { kind: 'configured', config: Object.freeze(config) }
}

type Wrong = (sentence: string) => undefined
type Text = (name: string) => string | undefined

function readMode(value: string | undefined, wrong: Wrong): Mode {
  if (value === undefined || value === 'production') return 'production'
  if (value === 'local') return 'local'
  wrong('AUTH_MODE must be production or local')
  return 'production'
}

function readRole(value: string | undefined, wrong: Wrong): RunRole {
  if (value === undefined || value === 'all') return 'all'
  if (value === 'door' || value === 'work') return value
  wrong('AUTH_ROLE must be all, door or work')
  return 'all'
}

function readDatabaseUrl(name: string, value: string, wrong: Wrong): string {
  if (value === '') return ''
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol))
    wrong(`${name} is not a PostgreSQL URL: postgres://user:password@host:5432/name`)
  return value
}

/** Local mode knows loopback only; production knows https only. */
function readOrigin(name: string, value: string, mode: Mode, wrong: Wrong): string {
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
  const loopback = ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
  if (mode === 'local' && !loopback)
    wrong(`${name} must be a loopback origin in AUTH_MODE=local: remove AUTH_MODE for production`)
  if (mode === 'production' && url.protocol !== 'https:')
    wrong(`${name} must begin with https:// (plain http is accepted in AUTH_MODE=local only)`)
  return url.origin
}

function readPort(name: string, value: string | undefined, fallback: number, wrong: Wrong): number {
  if (value === undefined) return fallback
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  wrong(`${name} must be a port number`)
  return fallback
}

/** `ENCRYPTION_KEY` is `k0` of the ring; `ENCRYPTION_KEYS` is `id:key,id:key`. Keys are 32 bytes in URL-safe base64. */
function readKeys(
  single: string | undefined,
  ring: string | undefined,
  wrong: Wrong,
): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>()
  const add = (id: string, value: string, variable: string) => {
    const bytes = Buffer.from(value.replace(/=+$/, ''), 'base64url')
    if (!/^[A-Za-z0-9_-]{43}=?$/.test(value) || bytes.length !== 32)
      return wrong(`${variable}: key "${id}" is not 32 bytes in URL-safe base64 (44 characters)`)
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

function readPlatformJwt(text: Text, wrong: Wrong): PlatformJwt | undefined {
  const secret = text('SESSION_SECRET')
  const jwksUrl = text('SESSION_JWKS_URL')
  if (secret === undefined && jwksUrl === undefined) return undefined
  if (secret !== undefined && jwksUrl !== undefined)
    wrong('SESSION_SECRET and SESSION_JWKS_URL exclude one another: set one')
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

function checkProduction(
  environment: Environment,
  execArgv: readonly string[],
  given: { serviceSecret: string; databaseUrl: string; keys: ReadonlyMap<string, Buffer> },
  wrong: Wrong,
): void {
  if (KNOWN_DEFAULTS.test(given.serviceSecret) || new Set(given.serviceSecret).size < 10)
    wrong('SERVICE_SECRET is not random: generate a new one')
  const databasePassword = URL.canParse(given.databaseUrl)
    ? decodeURIComponent(new URL(given.databaseUrl).password)
    : ''
  const keyTexts = [...given.keys.values()].map((key) => key.toString('base64url'))
  const same = (a: string) => keyTexts.includes(a.replace(/=+$/, ''))
  if (
    same(given.serviceSecret) ||
    same(databasePassword) ||
    (databasePassword !== '' && databasePassword === given.serviceSecret)
  ) {
    wrong('ENCRYPTION_KEY, SERVICE_SECRET and the database password must differ from one another')
  }
  const flags = [...execArgv, environment['NODE_OPTIONS'] ?? ''].join(' ')
  if (/--inspect|--heapsnapshot|--report-on/.test(flags))
    wrong(
      'the Node.js inspector, heap snapshots and reports would reveal secrets: remove these flags in production',
    )
}
