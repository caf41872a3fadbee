/**
 * Asks Google cheaply whether a watched resource changed (protocols/google.md §3, §4.4). It reads no content. A cursor is what Google counts with: a history id, a page token,
 * a time of the last update, or a hash of the calendar list.
 */
import { createHash } from 'node:crypto'
import { type HttpAnswer, jsonOf, transportFailure } from '../http-answer.ts'
import type {
  CheckOutcome,
  DiscoveryOutcome,
  Host,
  Json,
  SubscriptionCheck,
  SubscriptionQuestion,
} from '../provider.ts'
import { isArray, isObject, member, textMember } from '../webhook/hostile-json.ts'
import { type Ask, asking, type Failed } from './discovery/ask.ts'
import { calendarsOf, discover } from './discovery/discover.ts'
import { classifyApiError } from './failure.ts'
import { CALENDAR_LIST, DRIVE_CHANGES, GMAIL } from './resources.ts'
import type { GoogleSettings } from './settings.ts'

export function googleChecks(settings: GoogleSettings, host: Host) {
  const at = {
    gmail: `${settings.gmailUrl}/gmail/v1/users/me`,
    api: settings.apiUrl,
  }
  return {
    check(request: SubscriptionCheck): Promise<CheckOutcome> {
      const ask = asking(host, request)
      const { resource, cursor } = request
      if (resource === GMAIL) return checkMailbox(host, at.gmail, ask, cursor)
      if (resource === CALENDAR_LIST) return checkCalendarList(host, at.api, ask, cursor)
      if (resource.startsWith(DRIVE_CHANGES)) return checkDrive(host, at.api, resource, ask, cursor)
      return checkCalendar(host, at.api, resource, ask, cursor)
    },
    discover: (question: SubscriptionQuestion): Promise<DiscoveryOutcome> =>
      discover(host, at.api, asking(host, question), question.resource),
  }
}

const HISTORY_ID = /^\d{1,20}$/
/** Where a change log begins that nobody has read: also what an expired cursor is replaced by. */
async function mailboxNow(host: Host, mailbox: string, ask: Ask): Promise<CheckOutcome> {
  return judge(host, await ask(`${mailbox}/profile`), (body) => {
    const cursor = idOf(body, 'historyId')
    return cursor === undefined ? undefined : { changed: false, cursor }
  })
}

async function checkMailbox(
  host: Host,
  mailbox: string,
  ask: Ask,
  cursor: string | undefined,
): Promise<CheckOutcome> {
  if (cursor === undefined || !HISTORY_ID.test(cursor)) return mailboxNow(host, mailbox, ask)
  const outcome = await ask(
    `${mailbox}/history?startHistoryId=${cursor}&maxResults=${MOST_RECORDS}&${HISTORY_FIELDS}`,
  )
  if (outcome.kind === 'answered' && outcome.answer.status === 404) {
    const now = await mailboxNow(host, mailbox, ask)
    return now.kind === 'failed' ? now : { ...now, lost: true }
  }
  let newestMessage: string | undefined
  const checked = judge(host, outcome, (body) => {
    const history = member(body, 'history')
    newestMessage = addedBy(isArray(history) ? history.at(-1) : undefined)
    return { changed: isArray(history) && history.length > 0, cursor: idOf(body, 'historyId') ?? cursor }
  })
  if (checked.kind === 'failed' || newestMessage === undefined) return checked
  const newestAt = await arrivalOf(mailbox, ask, newestMessage)
  return newestAt === undefined ? checked : { ...checked, newestAt }
}

/** Records are in order of time; with more of them than one page holds, its last is not the newest, and no later than it. */
const MOST_RECORDS = 500
const HISTORY_FIELDS = 'fields=historyId,history(id,messagesAdded(message(id)))'
const MESSAGE_ID = /^[\w-]{1,100}$/

/** Id of the message that this record of the history added, if it did. */
function addedBy(record: Json | undefined): string | undefined {
  const added = member(record, 'messagesAdded')
  const id = textMember(member(isArray(added) ? added.at(-1) : undefined, 'message'), 'id')
  return id !== undefined && MESSAGE_ID.test(id) ? id : undefined
}

/** History tells no times: of a message that was added it is when it arrived. @returns undefined where that is not known */
async function arrivalOf(mailbox: string, ask: Ask, id: string): Promise<Date | undefined> {
  const outcome = await ask(`${mailbox}/messages/${id}?format=minimal&fields=internalDate`)
  if (outcome.kind === 'failed' || outcome.answer.status !== 200) return undefined
  const text = textMember(jsonOf(outcome.answer), 'internalDate') ?? ''
  return /^\d{1,16}$/.test(text) ? new Date(Number(text)) : undefined
}

/** A text by the documentation; a number in some answers, exact enough for a cursor below 2^53. */
function idOf(body: Json | undefined, name: string): string | undefined {
  const value = member(body, name)
  const text = typeof value === 'number' ? String(value) : value
  return typeof text === 'string' && HISTORY_ID.test(text) ? text : undefined
}

/** The user's own log, or a shared drive's. */
function driveQuery(resource: string): string {
  const drive = resource.slice(DRIVE_CHANGES.length + 1)
  return `supportsAllDrives=true&includeItemsFromAllDrives=true${drive === '' ? '' : `&${drive}`}`
}

/** The page token from which a new channel, or a check, counts. */
async function driveNow(host: Host, api: string, resource: string, ask: Ask): Promise<CheckOutcome> {
  const outcome = await ask(`${api}/${DRIVE_CHANGES}/startPageToken?${driveQuery(resource)}`)
  return judge(host, outcome, (body) => {
    const cursor = textMember(body, 'startPageToken')
    return cursor === undefined ? undefined : { changed: false, cursor }
  })
}

async function checkDrive(
  host: Host,
  api: string,
  resource: string,
  ask: Ask,
  cursor: string | undefined,
): Promise<CheckOutcome> {
  if (cursor === undefined) return driveNow(host, api, resource, ask)
  const token = encodeURIComponent(cursor)
  const outcome = await ask(`${api}/${DRIVE_CHANGES}?pageToken=${token}&pageSize=100&${driveQuery(resource)}`)
  const checked = judge(host, outcome, (body) => {
    const changes = member(body, 'changes')
    const changed = isArray(changes) && changes.length > 0
    const newest = isArray(changes) ? Date.parse(textMember(changes.at(-1), 'time') ?? '') : Number.NaN
    return {
      changed,
      cursor: textMember(body, 'newStartPageToken') ?? cursor,
      ...(changed && !Number.isNaN(newest) && { newestAt: new Date(newest) }),
    }
  })
  if (checked.kind === 'failed' || !checked.changed || checked.cursor !== cursor) return checked
  const now = await driveNow(host, api, resource, ask)
  return now.kind === 'failed' ? now : { ...checked, cursor: now.cursor }
}

async function checkCalendar(
  host: Host,
  api: string,
  resource: string,
  ask: Ask,
  cursor: string | undefined,
): Promise<CheckOutcome> {
  const since = cursor === undefined ? Number.NaN : Date.parse(cursor)
  const from = Number.isNaN(since) ? host.now() : new Date(since + 1)
  const outcome = await ask(
    `${api}/${resource}?updatedMin=${encodeURIComponent(from.toISOString())}&showDeleted=true&maxResults=1`,
  )
  if (outcome.kind === 'answered' && outcome.answer.status === 410)
    return { kind: 'checked', changed: false, cursor: host.now().toISOString(), lost: true }
  return judge(host, outcome, (body) => {
    const items = member(body, 'items')
    const changed = !Number.isNaN(since) && isArray(items) && items.length > 0
    const updated = Date.parse(textMember(body, 'updated') ?? '')
    const cursorNow = Number.isNaN(updated) ? from.getTime() : Math.max(updated, changed ? from.getTime() : 0)
    const cursor = new Date(Number.isNaN(since) ? from : cursorNow).toISOString()
    return { changed, cursor, ...(changed && !Number.isNaN(updated) && { newestAt: new Date(updated) }) }
  })
}

async function checkCalendarList(
  host: Host,
  api: string,
  ask: Ask,
  cursor: string | undefined,
): Promise<CheckOutcome> {
  const found = await calendarsOf(host, api, ask)
  if (found.kind === 'failed') return found
  const now = createHash('sha256').update(JSON.stringify(found.ids.toSorted())).digest('base64url')
  return { kind: 'checked', changed: cursor !== undefined && cursor !== now, cursor: now }
}

function judge(
  host: Host,
  outcome: { kind: 'answered'; answer: HttpAnswer } | Failed,
  read: (body: Json) => { changed: boolean; cursor: string; newestAt?: Date } | undefined,
): CheckOutcome {
  if (outcome.kind === 'failed') return outcome
  if (outcome.answer.status !== 200)
    return { kind: 'failed', failure: classifyApiError(outcome.answer, host.now()) }
  const body = jsonOf(outcome.answer)
  // what is no answer must not count as quiet
  const found = isObject(body) ? read(body) : undefined
  return found === undefined
    ? { kind: 'failed', failure: transportFailure('bad_check_answer') }
    : { kind: 'checked', ...found }
}
