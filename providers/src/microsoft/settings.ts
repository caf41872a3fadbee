/**
 * Settings of the Microsoft provider: which app registration, which cloud, and whether the relay form is on. Every
 * URL that the provider uses derives from these; nothing here reads the environment by itself.
 */
import type { Environment, SettingsReading, SettingVariable } from '../provider.ts'
import type { Secret } from '../secret.ts'
import { readerOf } from '../setting-reader.ts'

export interface MicrosoftSettings {
  readonly clientId: string
  readonly clientSecret: Secret
  readonly clientSecretExpiresAt: Date | undefined
  /** `common`, `organizations`, `consumers`, a tenant's GUID or a verified domain. */
  readonly tenant: string
  readonly loginUrl: string
  readonly graphUrl: string
  /** Turns the relay form (`x-ms-signature`) on. */
  readonly webhookSecret: Secret | undefined
  /** Believed as well, while senders change over. */
  readonly earlierWebhookSecret: Secret | undefined
  /** What is watched where the permissions carry it. */
  readonly watch: readonly string[]
  /** Renew before the access token that made it expires, so that pushes never wait [WH26]. */
  readonly renewWithinToken: boolean
  /** Of what is watched, what comes with its content, encrypted. */
  readonly resourceData: readonly string[]
}

export const WATCHABLE = ['mail', 'calendar', 'drive'] as const
/** A drive tells no item, so it has no content to tell. */
const WITH_DATA = ['mail', 'calendar'] as const

export const microsoftVariables: readonly SettingVariable[] = [
  { name: 'MICROSOFT_CLIENT_ID', meaning: 'Application (client) id; without it Microsoft 365 is off' },
  { name: 'MICROSOFT_CLIENT_SECRET', meaning: 'Client secret of the app registration', secret: true },
  {
    name: 'MICROSOFT_CLIENT_SECRET_EXPIRES_AT',
    meaning:
      'When that secret expires, as the portal shows it (2027-03-31): warned of 60, 30 and 7 days ahead',
  },
  {
    name: 'MICROSOFT_TENANT',
    meaning: 'Who may sign in: common, organizations, consumers, a tenant id or domain',
    fallback: 'common',
  },
  {
    name: 'MICROSOFT_LOGIN_URL',
    meaning: 'Identity platform',
    fallback: 'https://login.microsoftonline.com',
  },
  { name: 'MICROSOFT_GRAPH_URL', meaning: 'Microsoft Graph', fallback: 'https://graph.microsoft.com' },
  {
    name: 'MICROSOFT_WEBHOOK_SECRET',
    meaning: 'Turns the signed relay form on (32 bytes or more); Graph itself does not use it',
    secret: true,
  },
  {
    name: 'MICROSOFT_WEBHOOK_SECRET_EARLIER',
    meaning: 'Believed beside MICROSOFT_WEBHOOK_SECRET while senders change over; remove it afterwards',
    secret: true,
  },
  {
    name: 'MICROSOFT_WATCH',
    meaning: 'What is watched where the permissions carry it: mail, calendar, drive; `none` watches nothing',
    fallback: WATCHABLE.join(','),
  },
  {
    name: 'MICROSOFT_RENEW_WITHIN_TOKEN',
    meaning:
      '`on` renews each subscription before the access token that made it expires (about every 45 minutes), so that pushes never wait for that',
    fallback: 'off',
  },
  {
    name: 'MICROSOFT_RESOURCE_DATA',
    meaning:
      'Of what is watched, what is pushed with its content (subject, people, times, a preview), encrypted: mail, calendar',
    fallback: 'none',
  },
]

const TENANT = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/
const CLIENT_ID = /^[\x21-\x7e]{1,128}$/

export function readMicrosoftSettings(
  environment: Environment,
  mode: 'production' | 'local',
): SettingsReading<MicrosoftSettings> {
  const read = readerOf(environment, mode)
  if (read.text('MICROSOFT_CLIENT_ID') === undefined) return { kind: 'off' }
  const watch = read.choices('MICROSOFT_WATCH', WATCHABLE)
  const resourceData =
    read.text('MICROSOFT_RESOURCE_DATA') === undefined
      ? []
      : read.choices('MICROSOFT_RESOURCE_DATA', WITH_DATA)
  if (WITH_DATA.some((kind) => resourceData.includes(kind) && !watch.includes(kind)))
    read.mistake('MICROSOFT_RESOURCE_DATA names something that MICROSOFT_WATCH does not: add it there.')
  if (
    read.text('MICROSOFT_WEBHOOK_SECRET_EARLIER') !== undefined &&
    read.text('MICROSOFT_WEBHOOK_SECRET') === undefined
  )
    read.mistake(
      'MICROSOFT_WEBHOOK_SECRET_EARLIER is set without MICROSOFT_WEBHOOK_SECRET: set that as well.',
    )
  const settings: MicrosoftSettings = {
    clientId: read.shaped('MICROSOFT_CLIENT_ID', '', CLIENT_ID, 'a client id'),
    clientSecret: read.requiredSecret('MICROSOFT_CLIENT_SECRET', 'MICROSOFT_CLIENT_ID'),
    clientSecretExpiresAt: read.date('MICROSOFT_CLIENT_SECRET_EXPIRES_AT'),
    tenant: read.shaped(
      'MICROSOFT_TENANT',
      'common',
      TENANT,
      'common, organizations, consumers, a tenant id or a domain',
    ),
    loginUrl: read.baseUrl('MICROSOFT_LOGIN_URL', 'https://login.microsoftonline.com'),
    graphUrl: read.baseUrl('MICROSOFT_GRAPH_URL', 'https://graph.microsoft.com'),
    webhookSecret: read.optionalSecret('MICROSOFT_WEBHOOK_SECRET', 32),
    earlierWebhookSecret: read.optionalSecret('MICROSOFT_WEBHOOK_SECRET_EARLIER', 32),
    watch,
    renewWithinToken:
      read.shaped('MICROSOFT_RENEW_WITHIN_TOKEN', 'off', /^(?:on|off)$/, 'on or off') === 'on',
    resourceData,
  }
  return read.mistakes.length > 0 ? { kind: 'invalid', mistakes: read.mistakes } : { kind: 'on', settings }
}
