/**
 * A Graph subscription and the rules it must obey: resource, change types, lifetime, field lengths
 * (protocols/microsoft.md §2.1, §2.7). Pure judgement: nothing is sent or stored here.
 */
import { isLoopbackUrl } from '../options.ts'
import type { HeldToken } from '../tokens.ts'
import { readCertificate, readSelect, type SubscriberCertificate } from './encryption.ts'
import { invalid, type Refusal } from './refusal.ts'
import { findMicrosoftAccount } from './world.ts'

export interface Subscription {
  id: string
  account: string
  /** The consent whose token made it. */
  grant: string
  resource: string
  /** What kind of thing the resource is: decides who is notified of what. */
  class: ResourceClass
  changeType: string
  notificationUrl: string
  lifecycleNotificationUrl: string | null
  clientState: string | null
  expiresAt: number
  latestSupportedTlsVersion: string
  reauthorizedAt: number | null
  renewedAt: number | null
  /** When the access token of the last create, renewal or reauthorization is over. */
  tokenExpiresAt: number
  /** With resource data: what it is encrypted to; `null` without. */
  encryption: SubscriberCertificate | null
  /** Lower-case names of the properties that resource data has. */
  select: readonly string[]
}

export type ResourceClass = 'message' | 'event' | 'contact' | 'drive'

interface ResourceRule {
  class: ResourceClass
  pattern: RegExp
  longestMinutes: number
  changeTypes: readonly string[]
  /** Any of these permissions suffices. */
  scopes: readonly string[]
}

/** Outlook with resource data lives a day. */
const dataMinutes = 1_440

const everyChange = ['created', 'updated', 'deleted']
const outlookMinutes = 10_080

const rules: readonly ResourceRule[] = [
  {
    class: 'message',
    pattern: /^(mailfolders(\('[^']+'\)|\/[^/]+)\/)?messages$/i,
    longestMinutes: outlookMinutes,
    changeTypes: everyChange,
    scopes: ['Mail.Read', 'Mail.ReadBasic', 'Mail.ReadWrite'],
  },
  {
    class: 'event',
    pattern: /^(calendars?(\('[^']+'\)|\/[^/]+)?\/)?events$/i,
    longestMinutes: outlookMinutes,
    changeTypes: everyChange,
    scopes: ['Calendars.Read', 'Calendars.ReadWrite'],
  },
  {
    class: 'contact',
    pattern: /^(contactfolders(\('[^']+'\)|\/[^/]+)\/)?contacts$/i,
    longestMinutes: outlookMinutes,
    changeTypes: everyChange,
    scopes: ['Contacts.Read', 'Contacts.ReadWrite'],
  },
  {
    class: 'drive',
    pattern: /^drive\/root$/i,
    longestMinutes: 42_300,
    changeTypes: ['updated'],
    scopes: ['Files.ReadWrite', 'Files.ReadWrite.All'],
  },
]

export type SubscriptionReading = { kind: 'read'; subscription: Omit<Subscription, 'id'> } | Refusal

/** @param body the JSON of `POST /subscriptions` */
export function readSubscription(
  body: Record<string, unknown>,
  token: HeldToken,
  now: number,
): SubscriptionReading {
  const { changeType, notificationUrl, resource, clientState, lifecycleNotificationUrl } = body
  if (typeof resource !== 'string' || typeof changeType !== 'string' || typeof notificationUrl !== 'string') {
    return invalid('Subscription must have changeType, notificationUrl and resource.')
  }
  const rule = ruleFor(resource, token.account)
  if (rule === null) return invalid(`Invalid resource: '${resource}' is not supported here.`)
  if (!rule.scopes.some((scope) => token.scopes.some((held) => held.toLowerCase() === scope.toLowerCase()))) {
    return {
      kind: 'refused',
      status: 403,
      code: 'ExtensionError',
      message:
        'Operation: Create; Exception: [Status Code: Forbidden; Reason: Access is denied. Check credentials and try again.]',
    }
  }
  const changes = changeType.split(',').map((change) => change.trim().toLowerCase())
  if (!changes.every((change) => rule.changeTypes.includes(change))) {
    return invalid(`changeType for this resource must be of ${rule.changeTypes.join(', ')}.`)
  }
  const urls = [
    notificationUrl,
    ...(lifecycleNotificationUrl === undefined || lifecycleNotificationUrl === null
      ? []
      : [lifecycleNotificationUrl]),
  ]
  if (!urls.every((url) => typeof url === 'string' && isLoopbackUrl(url))) {
    return invalid('notificationUrl and lifecycleNotificationUrl must be loopback URLs at this simulator.')
  }
  if (
    clientState !== undefined &&
    clientState !== null &&
    (typeof clientState !== 'string' || clientState.length > 128)
  ) {
    return invalid('clientState must be a text of at most 128 characters.')
  }
  const content = readContent(body, resource, rule.class)
  if (content.kind === 'refused') return content
  const longestMinutes = content.encryption === null ? rule.longestMinutes : dataMinutes
  const expiry = readExpiry(body.expirationDateTime, longestMinutes, now)
  if (expiry.kind === 'refused') return expiry
  const tls = body.latestSupportedTlsVersion ?? 'v1_2'
  if (typeof tls !== 'string' || !/^v1_[0-3]$/.test(tls))
    return invalid('latestSupportedTlsVersion is wrong.')
  const subscription = {
    account: token.account,
    grant: token.grant,
    resource,
    class: rule.class,
    changeType: changes.join(','),
    notificationUrl,
    lifecycleNotificationUrl: typeof lifecycleNotificationUrl === 'string' ? lifecycleNotificationUrl : null,
    clientState: typeof clientState === 'string' ? clientState : null,
    expiresAt: expiry.at,
    latestSupportedTlsVersion: tls,
    reauthorizedAt: null,
    renewedAt: null,
    tokenExpiresAt: token.expiresAt,
    encryption: content.encryption,
    select: content.select,
  }
  return { kind: 'read', subscription }
}

type ContentReading =
  | { kind: 'read'; encryption: SubscriberCertificate | null; select: readonly string[] }
  | Refusal

/** What resource data needs (protocols/microsoft.md §3.1): a resource that has it, a choice of properties, a certificate. */
function readContent(body: Record<string, unknown>, resource: string, of: ResourceClass): ContentReading {
  const certificate = readCertificate(body)
  if (certificate.kind === 'refused') return certificate
  if (body.includeResourceData !== true) return { kind: 'read', encryption: null, select: [] }
  if (of === 'drive') return invalid('This resource cannot be subscribed to with resource data.')
  const reading = readSelect(resource)
  if (reading.kind === 'refused') return reading
  if (certificate.certificate === null)
    return invalid('encryptionCertificate and encryptionCertificateId are required with includeResourceData.')
  return { kind: 'read', encryption: certificate.certificate, select: reading.select }
}

/** Under 45 minutes ahead is silently raised to 45; above the resource's maximum fails. */
export function readExpiry(
  value: unknown,
  longestMinutes: number,
  now: number,
): { kind: 'read'; at: number } | Refusal {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(at)) return invalid('expirationDateTime must be a UTC time.')
  if (at > now + longestMinutes * 60_000) {
    return invalid(`Subscription expiration can only be ${longestMinutes} minutes in the future.`)
  }
  return { kind: 'read', at: Math.max(at, now + 45 * 60_000) }
}

export function longestMinutesOf(subscription: Subscription): number {
  if (subscription.encryption !== null) return dataMinutes
  return rules.find((rule) => rule.class === subscription.class)?.longestMinutes ?? outlookMinutes
}

export function presentSubscription(subscription: Subscription, clientId: string, showState: boolean) {
  return {
    id: subscription.id,
    resource: subscription.resource,
    applicationId: clientId,
    changeType: subscription.changeType,
    clientState: showState ? subscription.clientState : null,
    notificationUrl: subscription.notificationUrl,
    notificationQueryOptions: null,
    notificationContentType: null,
    lifecycleNotificationUrl: subscription.lifecycleNotificationUrl,
    expirationDateTime: graphTime(subscription.expiresAt),
    creatorId: findMicrosoftAccount(subscription.account)?.oid ?? null,
    includeResourceData: subscription.encryption === null ? null : true,
    latestSupportedTlsVersion: subscription.latestSupportedTlsVersion,
    // the certificate itself is left out of answers, as in the example
    ...(subscription.encryption === null ? { encryptionCertificate: null } : {}),
    encryptionCertificateId: subscription.encryption?.id ?? null,
    notificationUrlAppId: null,
  }
}

/** Seven fraction digits, as Graph writes times. */
export function graphTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '0000Z')
}

/** `me/…` or the same person's `users/{id}/…`; delegated tokens reach no other mailbox. */
function ruleFor(resource: string, account: string): ResourceRule | null {
  const path = resource.replace(/^\//, '').split('?')[0] ?? ''
  const match = /^(?:me|users\/([^/]+)|users\('([^']+)'\))\/(.+)$/i.exec(path)
  if (!match?.[3]) return null
  const owner = match[1] ?? match[2]
  const person = findMicrosoftAccount(account)
  if (owner !== undefined && owner !== person?.oid && owner.toLowerCase() !== person?.email) return null
  return rules.find((rule) => rule.pattern.test(match[3] ?? '')) ?? null
}
