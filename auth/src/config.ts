/**
 * Environment → frozen, typed configuration; the only file that reads the environment. All mistakes are found at once,
 * each a sentence that names the variable and says what to do; none of them repeats a value. Providers bring their own
 * settings schema.
 */
import type { BlockList } from 'node:net'
import { catalogue, type Environment, type ProviderModule, Secret } from '@flovify/providers'
import {
  checkProduction,
  type Mode,
  type PlatformJwt,
  type RunRole,
  readCheckMinutes,
  readDatabaseUrl,
  readKeys,
  readMode,
  readOrigin,
  readPlatformJwt,
  readPort,
  readRole,
  readTrustedProxies,
  readWebhookAddresses,
} from './config-values.ts'
import { type EgressAllowance, parseEgressAllow } from './delivery/egress-allow.ts'
import type { TrustedProxies } from './http/client-address.ts'
import { type RetentionDays, readRetention } from './ledger/retention-days.ts'

export type { Mode, PlatformJwt, RunRole } from './config-values.ts'

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
  readonly retention: RetentionDays
  /** How often a provider is asked whether something changed that was not pushed. */
  readonly subscriptionCheckMinutes: number
  /** What stands in front of the public door. */
  readonly trustedProxies: TrustedProxies
  /** From where each provider may send, by its id; one without an entry is judged by its proofs alone. */
  readonly webhookAddresses: ReadonlyMap<string, BlockList>
  readonly platformJwt: PlatformJwt | undefined
  readonly providers: readonly ConfiguredProvider[]
}

export type ConfigReading =
  | { readonly kind: 'configured'; readonly config: Config }
  | { readonly kind: 'mistakes'; readonly mistakes: readonly string[] }

/** @param execArgv flags of the Node.js process, for the inspector check @param modules the providers that may be configured */
export function readConfig(
  environment: Environment = process.env,
  execArgv: readonly string[] = process.execArgv,
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
  if (
    webhookOrigin !== '' &&
    consoleOrigin !== '' &&
    new URL(webhookOrigin).hostname === new URL(consoleOrigin).hostname
  )
    wrong('WEBHOOK_BASE_URL and CONSOLE_BASE_URL must have different host names: cookies ignore ports')
  if (text('NODE_TLS_REJECT_UNAUTHORIZED') === '0')
    wrong(
      'NODE_TLS_REJECT_UNAUTHORIZED=0 accepts every certificate, also of who reads tokens on the way: remove it, and ' +
        'name an authority of your own in NODE_EXTRA_CA_CERTS, or in the `ca` of the destination that needs it',
    )
  if (mode === 'production')
    checkProduction(
      [...execArgv, environment.NODE_OPTIONS ?? ''].join(' '),
      { serviceSecret, sessionSecret: text('SESSION_SECRET'), databaseUrl, keys },
      wrong,
    )

  const config: Config = {
    mode,
    role,
    version: text('SERVICE_SEMVER') ?? '0.1.0',
    databaseUrl,
    migrationDatabaseUrl:
      readDatabaseUrl('MIGRATION_DATABASE_URL', text('MIGRATION_DATABASE_URL') ?? '', wrong) || databaseUrl,
    serviceSecret: new Secret(serviceSecret),
    keys,
    host: mode === 'local' ? '127.0.0.1' : (text('AUTH_HOST') ?? '0.0.0.0'),
    publicPort: readPort('AUTH_PORT', text('AUTH_PORT'), 8000, wrong),
    internalPort: readPort('AUTH_INTERNAL_PORT', text('AUTH_INTERNAL_PORT'), 8001, wrong),
    webhookOrigin,
    consoleOrigin,
    typePrefix,
    egressAllow: egress.allowed,
    retention: readRetention(text, wrong),
    subscriptionCheckMinutes: readCheckMinutes(text('SUBSCRIPTION_CHECK_MINUTES'), wrong),
    trustedProxies: readTrustedProxies(text('TRUSTED_PROXIES'), wrong),
    webhookAddresses: readWebhookAddresses(
      providers.map(({ module }) => module.id),
      text,
      wrong,
    ),
    platformJwt: readPlatformJwt(text, mode, wrong),
    providers,
  }
  return mistakes.length > 0
    ? { kind: 'mistakes', mistakes }
    : { kind: 'configured', config: Object.freeze(config) }
}
