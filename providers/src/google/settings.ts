/**
 * Settings of the Google provider: which OAuth client, where Google is, and which Pub/Sub subscription pushes to
 * us. The push settings belong together: some of them alone are a mistake, because a push could not be verified.
 */
import type { Environment, SettingsReading, SettingVariable } from '../provider.ts'
import type { Secret } from '../secret.ts'
import { readerOf } from '../setting-reader.ts'

export interface GoogleSettings {
  readonly clientId: string
  readonly clientSecret: Secret
  readonly accountsUrl: string
  /** Base of `/token` and `/revoke`. */
  readonly tokenUrl: string
  /** Drive, Calendar and the signing keys. */
  readonly apiUrl: string
  readonly gmailUrl: string
  /** Without it no push is believed. */
  readonly push: PushSettings | undefined
  /** Where Gmail publishes; without it no watch is made. */
  readonly topic: string | undefined
  /** Not needed: channel tokens are made with the service's own key ring. */
  readonly webhookSecret: Secret | undefined
  /** What is watched where the permissions carry it. */
  readonly watch: readonly string[]
}

export const WATCHABLE = ['mail', 'calendar', 'drive'] as const

/** Each may have several values, so that one can follow another without a gap. */
export interface PushSettings {
  readonly audiences: readonly string[]
  readonly serviceAccounts: readonly string[]
  readonly subscriptions: readonly string[]
}

export const REAL_ACCOUNTS_URL = 'https://accounts.google.com'

export const googleVariables: readonly SettingVariable[] = [
  { name: 'GOOGLE_CLIENT_ID', meaning: 'OAuth client id; without it Google Workspace is off' },
  { name: 'GOOGLE_CLIENT_SECRET', meaning: 'OAuth client secret', secret: true },
  {
    name: 'GOOGLE_ACCOUNTS_URL',
    meaning: 'Sign-in pages; also the issuer of id tokens',
    fallback: REAL_ACCOUNTS_URL,
  },
  {
    name: 'GOOGLE_TOKEN_URL',
    meaning: 'Base of /token and /revoke',
    fallback: 'https://oauth2.googleapis.com',
  },
  {
    name: 'GOOGLE_API_URL',
    meaning: 'Drive, Calendar and signing keys',
    fallback: 'https://www.googleapis.com',
  },
  { name: 'GMAIL_API_URL', meaning: 'Gmail', fallback: 'https://gmail.googleapis.com' },
  {
    name: 'GOOGLE_PUBSUB_AUDIENCE',
    meaning:
      'Audience set on the push subscription; compared exactly; several, separated by commas, while one follows another',
  },
  {
    name: 'GOOGLE_PUBSUB_SERVICE_ACCOUNT',
    meaning: 'E-mail of the service account that signs pushes; several, separated by commas',
  },
  {
    name: 'GOOGLE_PUBSUB_SUBSCRIPTION',
    meaning: 'projects/…/subscriptions/… that pushes to us; several, separated by commas',
  },
  {
    name: 'GOOGLE_PUBSUB_TOPIC',
    meaning: 'projects/…/topics/… that Gmail publishes to; without it no mailbox is watched',
  },
  {
    name: 'GOOGLE_WEBHOOK_SECRET',
    meaning:
      'Accepted, not needed: the tokens of Drive and Calendar channels are made with ENCRYPTION_KEY (32 bytes or more)',
    secret: true,
  },
  {
    name: 'GOOGLE_WATCH',
    meaning: 'What is watched where the permissions carry it: mail, calendar, drive; `none` watches nothing',
    fallback: WATCHABLE.join(','),
  },
]

const CLIENT_ID = /^[\x21-\x7e]{1,256}$/
const AUDIENCE = /^[\x21-\x2b\x2d-\x7e]{1,2048}$/
const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,253}$/
const SUBSCRIPTION = /^projects\/[^/\s]+\/subscriptions\/[^/\s]+$/
const TOPIC = /^projects\/[^/\s]+\/topics\/[^/\s]+$/
const PUSH_NAMES = [
  'GOOGLE_PUBSUB_AUDIENCE',
  'GOOGLE_PUBSUB_SERVICE_ACCOUNT',
  'GOOGLE_PUBSUB_SUBSCRIPTION',
] as const

export function readGoogleSettings(
  environment: Environment,
  mode: 'production' | 'local',
): SettingsReading<GoogleSettings> {
  const read = readerOf(environment, mode)
  if (read.text('GOOGLE_CLIENT_ID') === undefined) return { kind: 'off' }

  const set = [...PUSH_NAMES, 'GOOGLE_PUBSUB_TOPIC'].filter((name) => read.text(name) !== undefined)
  if (set.length > 0) {
    for (const name of PUSH_NAMES.filter((name) => !set.includes(name))) {
      read.mistake(`${name} is missing: ${set[0]} is set, and without ${name} no push can be verified.`)
    }
  }
  const audiences = read.shapedList(
    'GOOGLE_PUBSUB_AUDIENCE',
    AUDIENCE,
    'an audience (visible characters only)',
  )
  const serviceAccounts = read.shapedList('GOOGLE_PUBSUB_SERVICE_ACCOUNT', EMAIL, 'an e-mail address')
  const subscriptions = read.shapedList(
    'GOOGLE_PUBSUB_SUBSCRIPTION',
    SUBSCRIPTION,
    'of the form projects/PROJECT/subscriptions/NAME',
  )
  const complete = audiences !== undefined && serviceAccounts !== undefined && subscriptions !== undefined
  const settings: GoogleSettings = {
    clientId: read.shaped('GOOGLE_CLIENT_ID', '', CLIENT_ID, 'a client id'),
    clientSecret: read.requiredSecret('GOOGLE_CLIENT_SECRET', 'GOOGLE_CLIENT_ID'),
    accountsUrl: read.baseUrl('GOOGLE_ACCOUNTS_URL', REAL_ACCOUNTS_URL),
    tokenUrl: read.baseUrl('GOOGLE_TOKEN_URL', 'https://oauth2.googleapis.com'),
    apiUrl: read.baseUrl('GOOGLE_API_URL', 'https://www.googleapis.com'),
    gmailUrl: read.baseUrl('GMAIL_API_URL', 'https://gmail.googleapis.com'),
    push: complete ? { audiences, serviceAccounts, subscriptions } : undefined,
    topic: read.shapedOrNone('GOOGLE_PUBSUB_TOPIC', TOPIC, 'of the form projects/PROJECT/topics/NAME'),
    webhookSecret: read.optionalSecret('GOOGLE_WEBHOOK_SECRET', 32),
    watch: read.choices('GOOGLE_WATCH', WATCHABLE),
  }
  return read.mistakes.length > 0 ? { kind: 'invalid', mistakes: read.mistakes } : { kind: 'on', settings }
}
