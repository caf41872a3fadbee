/**
 * What can be watched at Graph, one row each (protocols/microsoft.md §2.1, §2.7, §2.9): the permissions that carry it,
 * the longest lives, what its items are called, and how late a push may come.
 */
import type { WantedSubscription } from '../provider.ts'
import { canonicalScope, PERSONAL_TENANT } from './oauth.ts'
import type { MicrosoftSettings } from './settings.ts'

const MINUTE_MS = 60_000

export interface WatchedResource {
  readonly kind: 'mail' | 'calendar' | 'drive'
  readonly resource: string
  readonly scopes: readonly string[]
  readonly changeType: string
  /** Minutes, longest first: the next is asked for when one is refused. Ten less than documented, because clocks differ. */
  readonly lifetimes: readonly [number, number]
  /** Documented maximum of the time between a change and its push. */
  readonly pushDelayMs: number
  readonly notifiedType: string
  /** Of its items, as Graph writes it, lower-case. */
  readonly odataType: string
  /** `Microsoft.Graph.MessageCreated` */
  readonly origin: string
  /** CloudEvents subject: `messages/<id>` */
  readonly subject: string
  /** Where its items can be pushed with their content. Graph demands a choice of properties, and refuses bodies [OUTLOOK]. */
  readonly withData?: {
    readonly select: readonly string[]
    readonly scopes: readonly string[]
    readonly lifetimes: readonly [number, number]
  }
}

/** A day with content; the second for what may be refused, as without. */
const DATA_LIFETIMES: readonly [number, number] = [1_430, 1_200]

const ALL: readonly WatchedResource[] = [
  {
    kind: 'mail',
    resource: 'me/messages',
    scopes: ['mail.read', 'mail.readwrite', 'mail.readbasic'],
    changeType: 'created,updated,deleted',
    // some mailboxes still refuse more than 4,230
    lifetimes: [10_070, 4_230],
    pushDelayMs: 3 * MINUTE_MS,
    notifiedType: 'mail.mailbox.v1.notified',
    odataType: '#microsoft.graph.message',
    origin: 'Message',
    subject: 'messages',
    withData: {
      select: [
        'id',
        'subject',
        'bodyPreview',
        'from',
        'toRecipients',
        'ccRecipients',
        'receivedDateTime',
        'sentDateTime',
        'internetMessageId',
        'conversationId',
        'parentFolderId',
        'isRead',
        'isDraft',
        'hasAttachments',
        'importance',
        'categories',
      ],
      // Mail.ReadBasic shows no preview
      scopes: ['mail.read', 'mail.readwrite'],
      lifetimes: DATA_LIFETIMES,
    },
  },
  {
    kind: 'calendar',
    resource: 'me/events',
    scopes: ['calendars.read', 'calendars.readwrite'],
    changeType: 'created,updated,deleted',
    lifetimes: [10_070, 4_230],
    pushDelayMs: 3 * MINUTE_MS,
    notifiedType: 'calendar.calendar.v1.notified',
    odataType: '#microsoft.graph.event',
    origin: 'Event',
    subject: 'events',
    withData: {
      select: [
        'id',
        'subject',
        'bodyPreview',
        'start',
        'end',
        'isAllDay',
        'isCancelled',
        'showAs',
        'type',
        'seriesMasterId',
        'iCalUId',
        'location',
        'organizer',
        'attendees',
        'importance',
        'sensitivity',
        'createdDateTime',
        'lastModifiedDateTime',
      ],
      scopes: ['calendars.read', 'calendars.readwrite'],
      lifetimes: DATA_LIFETIMES,
    },
  },
  {
    kind: 'drive',
    resource: 'me/drive/root',
    scopes: ['files.readwrite', 'files.readwrite.all'],
    // the only one that a drive knows
    changeType: 'updated',
    lifetimes: [42_290, 4_230],
    pushDelayMs: 6 * 60 * MINUTE_MS,
    notifiedType: 'files.drive.v1.notified',
    odataType: '#microsoft.graph.driveitem',
    origin: 'DriveItem',
    subject: 'items',
  },
]

/** @param resource as it was created @returns undefined for one that we did not make */
export function watchedResource(resource: string): WatchedResource | undefined {
  return ALL.find((watched) => watched.resource === resource)
}

/**
 * Whether it is to be pushed with its content. Not for personal accounts: their notifications with resource data are
 * documented nowhere.
 */
export function wantsData(
  settings: MicrosoftSettings,
  of: {
    readonly resource: string
    readonly tenant: string | undefined
    readonly grantedScopes: readonly string[]
  },
): boolean {
  const watched = watchedResource(of.resource)
  if (watched?.withData === undefined || !settings.resourceData.includes(watched.kind)) return false
  if (of.tenant === undefined || of.tenant === PERSONAL_TENANT) return false
  const canonical = canonicalScope(settings.graphUrl)
  const granted = of.grantedScopes.map((scope) => canonical(scope))
  return watched.withData.scopes.some((scope) => granted.includes(scope))
}

export function wantedOf(
  settings: MicrosoftSettings,
  grantedScopes: readonly string[],
): readonly WantedSubscription[] {
  const canonical = canonicalScope(settings.graphUrl)
  const granted = new Set(grantedScopes.map((scope) => canonical(scope)))
  return ALL.filter(
    ({ kind, scopes }) => settings.watch.includes(kind) && scopes.some((scope) => granted.has(scope)),
  ).map(({ kind, resource }) => ({ kind, resource }))
}
