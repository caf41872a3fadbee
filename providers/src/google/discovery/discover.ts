/** Which calendars and shared drives an account has (protocols/google.md §4.4). */
import { jsonOf, transportFailure } from '../../http-answer.ts'
import type { DiscoveryOutcome, Host, WantedSubscription } from '../../provider.ts'
import { isArray, member, textMember } from '../../webhook/hostile-json.ts'
import { classifyApiError } from '../failure.ts'
import { CALENDAR_LIST, calendarEvents, DRIVE_CHANGES, sharedDriveChanges } from '../resources.ts'
import type { Ask, Failed } from './ask.ts'

/** So many calendars or shared drives of one account are watched; the simplest accounts have two. */
const MOST_DISCOVERED = 100

/** What follows from a watched resource: nothing but from the list of calendars and the user's own drive. */
export async function discover(
  host: Host,
  api: string,
  ask: Ask,
  resource: string,
): Promise<DiscoveryOutcome> {
  if (resource === CALENDAR_LIST) return discoverCalendars(host, api, ask)
  if (resource === DRIVE_CHANGES) return discoverDrives(host, api, ask)
  return { kind: 'found', wanted: [] }
}

/** Ids of the calendars that may be read. */
export async function calendarsOf(
  host: Host,
  api: string,
  ask: Ask,
): Promise<{ kind: 'ids'; ids: string[] } | Failed> {
  const outcome = await ask(`${api}/${CALENDAR_LIST}?maxResults=250`)
  if (outcome.kind === 'failed') return outcome
  if (outcome.answer.status !== 200)
    return { kind: 'failed', failure: classifyApiError(outcome.answer, host.now()) }
  const items = member(jsonOf(outcome.answer), 'items')
  if (!isArray(items)) return { kind: 'failed', failure: transportFailure('bad_calendar_list') }
  const ids = items.flatMap((item) => {
    const id = textMember(item, 'id')
    // of these only the busy times may be read: they cannot be watched
    const isReadable = textMember(item, 'accessRole') !== 'freeBusyReader' && member(item, 'deleted') !== true
    return id !== undefined && id !== '' && id.length <= 1024 && isReadable ? [id] : []
  })
  return { kind: 'ids', ids: ids.slice(0, MOST_DISCOVERED) }
}

async function discoverCalendars(host: Host, api: string, ask: Ask): Promise<DiscoveryOutcome> {
  const found = await calendarsOf(host, api, ask)
  return found.kind === 'failed' ? found : { kind: 'found', wanted: found.ids.map(calendarEvents) }
}

async function discoverDrives(host: Host, api: string, ask: Ask): Promise<DiscoveryOutcome> {
  const outcome = await ask(`${api}/drive/v3/drives?pageSize=${MOST_DISCOVERED}`)
  if (outcome.kind === 'failed') return outcome
  if (outcome.answer.status !== 200)
    return { kind: 'failed', failure: classifyApiError(outcome.answer, host.now()) }
  const drives = member(jsonOf(outcome.answer), 'drives')
  const wanted: WantedSubscription[] = (isArray(drives) ? drives : []).flatMap((drive) => {
    const id = textMember(drive, 'id')
    return id === undefined || !/^[\w-]{1,200}$/.test(id) ? [] : [sharedDriveChanges(id)]
  })
  return { kind: 'found', wanted }
}
