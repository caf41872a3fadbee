/**
 * The little of Calendar that one reads after a notification: the list, the primary calendar's events with sync
 * tokens, and the watch calls (protocols/google.md §4). Events change through the control API only.
 */
import type { FastifyInstance } from 'fastify'
import { type Collection, changedSince, collectionOf, type Item } from '../collection.ts'
import { apiCaller, sendError } from './api.ts'
import { opensCalendar } from './scopes.ts'
import { answerWatch, serveStop } from './watching.ts'
import { findGoogleAccount, type GoogleWorld } from './world.ts'

const base = '/calendar/v3'
type Of = { Params: { calendar: string } }
type Listing = Of & {
  Querystring: {
    syncToken?: string
    pageToken?: string
    maxResults?: string
    updatedMin?: string
    showDeleted?: string
  }
}

/** Not to be combined with a sync token. */
const narrowing = [
  'iCalUID',
  'orderBy',
  'q',
  'timeMin',
  'timeMax',
  'updatedMin',
  'privateExtendedProperty',
  'sharedExtendedProperty',
]

export function serveCalendar(server: FastifyInstance, world: GoogleWorld): void {
  server.get(`${base}/users/me/calendarList`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensCalendar)
    if (caller === null) return reply
    const primary = { kind: 'calendar#calendarListEntry', id: caller.account, summary: caller.account }
    const items = [{ ...primary, timeZone: 'UTC', accessRole: 'owner', primary: true }]
    return reply.send({ kind: 'calendar#calendarList', items, nextSyncToken: 'list-1' })
  })

  server.get<Listing>(`${base}/calendars/:calendar/events`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensCalendar)
    if (caller === null) return reply
    if (!isPrimary(request.params.calendar, caller.account)) {
      return sendError(reply, 404, 'notFound', 'Not Found', 'NOT_FOUND')
    }
    const { syncToken, pageToken, maxResults, updatedMin, showDeleted } = request.query
    const from = updatedMin === undefined ? Number.NEGATIVE_INFINITY : Date.parse(updatedMin)
    if (Number.isNaN(from)) return sendError(reply, 400, 'badRequest', 'Bad Request', 'INVALID_ARGUMENT')
    if (syncToken !== undefined && narrowing.some((name) => Object.hasOwn(request.query, name))) {
      return sendError(reply, 400, 'badRequest', 'Sync token can not be used here.', 'INVALID_ARGUMENT')
    }
    if (syncToken !== undefined && (world.faults.historyExpired || !/^sync-\d+$/.test(syncToken))) {
      const message = 'Sync token is no longer valid, a full sync is required.'
      return sendError(reply, 410, 'fullSyncRequired', message, 'GONE')
    }
    const calendar = collectionOf(world.calendars, caller.account)
    const since = syncToken === undefined ? 0 : Number(syncToken.slice(5))
    // A full listing leaves out what was removed; an incremental one always names it.
    const changed = changedSince(calendar, since)
    const all = changed.filter(
      (item) =>
        item.changedAt >= from && (syncToken !== undefined || showDeleted === 'true' || !item.removed),
    )
    const first = Math.max(Number.parseInt(pageToken ?? '0', 10) || 0, 0)
    const size = Math.min(Math.max(Number.parseInt(maxResults ?? '250', 10) || 250, 1), 2_500)
    return reply.send({
      kind: 'calendar#events',
      summary: caller.account,
      timeZone: 'UTC',
      updated: new Date(Math.max(0, ...calendarTimes(calendar))).toISOString(),
      items: all.slice(first, first + size).map(present),
      ...(first + size < all.length
        ? { nextPageToken: `${first + size}` }
        : { nextSyncToken: `sync-${calendar.version}` }),
    })
  })

  server.post<Of>(`${base}/calendars/:calendar/events/watch`, async (request, reply) => {
    const { calendar } = request.params
    if (calendar !== 'primary' && findGoogleAccount(calendar) === undefined) {
      return sendError(reply, 404, 'notFound', 'Not Found', 'NOT_FOUND')
    }
    const resourceUri = `https://www.googleapis.com/calendar/v3/calendars/${encodeURIComponent(calendar)}/events?alt=json`
    return answerWatch(world, request, reply, opensCalendar, {
      kind: 'events',
      target: 'primary',
      resourceUri,
    })
  })

  server.post(`${base}/users/me/calendarList/watch`, async (request, reply) => {
    const resourceUri = 'https://www.googleapis.com/calendar/v3/users/me/calendarList?alt=json'
    return answerWatch(world, request, reply, opensCalendar, {
      kind: 'calendarList',
      target: '',
      resourceUri,
    })
  })

  serveStop(server, world, `${base}/channels/stop`, opensCalendar)
}

/** When each of its events changed last. */
function calendarTimes(calendar: Collection): number[] {
  return [...calendar.items.values()].map((item) => item.changedAt)
}

function isPrimary(calendar: string, account: string): boolean {
  return calendar === 'primary' || calendar.toLowerCase() === account
}

function present(item: Item) {
  if (item.removed) return { kind: 'calendar#event', id: item.id, status: 'cancelled' }
  const start = new Date(item.changedAt + 3_600_000).toISOString()
  const end = new Date(item.changedAt + 7_200_000).toISOString()
  return {
    kind: 'calendar#event',
    etag: `"${item.version}"`,
    id: item.id,
    status: 'confirmed',
    summary: item.name,
    updated: new Date(item.changedAt).toISOString(),
    start: { dateTime: start },
    end: { dateTime: end },
  }
}
