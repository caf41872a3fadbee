/**
 * What can be watched at Graph, one row each (protocols/microsoft.md §2.1, §2.7, §2.9): the permissions that carry it,
 * the longest lives, what its items are called, and how late a push may come.
 */
import type { WantedSubscription } from '../provider.ts'
import { canonicalScope } from './oauth.ts'
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
}

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
