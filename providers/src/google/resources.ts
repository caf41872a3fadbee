/**
 * What can be watched at Google, one row each (protocols/google.md §3, §4): the permissions that carry it, how long a
 * channel may live, and how late a push may come. A resource is written as the path below its API, so that a stored
 * one still says what it watches.
 */
import { createHash } from 'node:crypto'
import type { WantedSubscription } from '../provider.ts'
import type { GoogleSettings } from './settings.ts'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const PREFIX = 'https://www.googleapis.com/auth/'

export const GMAIL = 'gmail'
export const CALENDAR_LIST = 'calendar/v3/users/me/calendarList'
export const DRIVE_CHANGES = 'drive/v3/changes'
const CALENDAR_EVENTS = /^calendar\/v3\/calendars\/[^/]{1,1024}\/events$/

export interface WatchedResource {
  readonly api: 'gmail' | 'drive' | 'calendar'
  /** Longest life to ask for; Google gives less where it wants to. */
  readonly longestMs: number
  /** Not documented by Google: measured cadences with room (protocols/google.md §3, events.md §1.2). */
  readonly pushDelayMs: number
  readonly notifiedType: string
  readonly originType: string
  readonly subject: string
}

const MAIL: WatchedResource = {
  api: 'gmail',
  longestMs: 7 * DAY_MS,
  pushDelayMs: 5 * MINUTE_MS,
  notifiedType: 'mail.mailbox.v1.notified',
  originType: 'google.gmail.history',
  subject: 'mailbox',
}
const DRIVE: WatchedResource = {
  api: 'drive',
  longestMs: 7 * DAY_MS,
  pushDelayMs: 10 * MINUTE_MS,
  notifiedType: 'files.drive.v1.notified',
  originType: 'google.drive.changes',
  subject: 'drive',
}
const CALENDAR: WatchedResource = {
  api: 'calendar',
  // the most that was ever seen granted; more is not asked for
  longestMs: 30 * DAY_MS,
  pushDelayMs: 5 * MINUTE_MS,
  notifiedType: 'calendar.calendar.v1.notified',
  originType: 'google.calendar.events',
  subject: 'calendar',
}

/** @param resource as it is stored @returns undefined for one that we did not make */
export function watchedResource(resource: string): WatchedResource | undefined {
  if (resource === GMAIL) return MAIL
  if (resource === DRIVE_CHANGES || resource.startsWith(`${DRIVE_CHANGES}?driveId=`)) return DRIVE
  if (resource === CALENDAR_LIST)
    return { ...CALENDAR, originType: 'google.calendar.list', subject: 'calendars' }
  return CALENDAR_EVENTS.test(resource) ? CALENDAR : undefined
}

const names = (...scopes: string[]) => scopes.map((scope) => `${PREFIX}${scope}`)
const SCOPES = {
  mail: new Set(['https://mail.google.com/', ...names('gmail.modify', 'gmail.readonly', 'gmail.metadata')]),
  drive: new Set(names('drive', 'drive.readonly', 'drive.metadata', 'drive.metadata.readonly')),
  calendar: new Set(names('calendar', 'calendar.readonly')),
}

/** The calendars and the shared drives themselves are found by asking: `discover`. */
export function wantedOf(
  settings: GoogleSettings,
  grantedScopes: readonly string[],
): readonly WantedSubscription[] {
  const carries = (kind: keyof typeof SCOPES) =>
    settings.watch.includes(kind) && grantedScopes.some((scope) => SCOPES[kind].has(scope))
  return [
    ...(settings.topic !== undefined && carries('mail') ? [{ kind: 'mail', resource: GMAIL }] : []),
    ...(carries('drive') ? [{ kind: 'drive', resource: DRIVE_CHANGES }] : []),
    ...(carries('calendar') ? [{ kind: 'calendar', resource: CALENDAR_LIST }] : []),
  ]
}

export function calendarEvents(id: string): WantedSubscription {
  return {
    kind: `calendar:${shortened(id)}`,
    resource: `calendar/v3/calendars/${encodeURIComponent(id)}/events`,
  }
}

export function sharedDriveChanges(id: string): WantedSubscription {
  return { kind: `drive:${shortened(id)}`, resource: `${DRIVE_CHANGES}?driveId=${encodeURIComponent(id)}` }
}

/** Ids are people's addresses or random; one that is very long is told apart by its hash. */
function shortened(id: string): string {
  return id.length <= 120 ? id : createHash('sha256').update(id).digest('hex')
}
