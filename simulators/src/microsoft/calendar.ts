/**
 * The little of the Outlook calendar that one reads after a notification: events, one event, and the delta of a
 * window (protocols/microsoft.md §4.3). Events change through the control API only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { changedSince, collectionOf, type Item } from '../collection.ts'
import type { HeldToken } from '../tokens.ts'
import { callerOf, sendGraphError } from './graph.ts'
import { includesScope } from './scopes.ts'
import type { MicrosoftWorld } from './world.ts'

const deltaPath = '/v1.0/me/calendarView/delta'

export function serveCalendar(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get<{ Querystring: { $top?: string; $orderby?: string } }>(
    '/v1.0/me/events',
    async (request, reply) => {
      const caller = enter(world, request, reply)
      if (caller === null) return reply
      const { $top, $orderby = '' } = request.query
      const kept = [...collectionOf(world.calendars, caller.account).items.values()].filter(
        (item) => !item.removed,
      )
      const newestFirst = /^lastModifiedDateTime desc$/i.test($orderby)
      const items = newestFirst ? kept.sort((one, other) => other.changedAt - one.changedAt) : kept
      const top = Math.max(Number.parseInt($top ?? '10', 10) || 10, 1)
      return reply.send({
        '@odata.context': `${world.origin}/v1.0/$metadata#users('me')/events`,
        value: items.slice(0, top).map(presentEvent),
      })
    },
  )

  server.get<{ Params: { id: string } }>('/v1.0/me/events/:id', async (request, reply) => {
    const caller = enter(world, request, reply)
    if (caller === null) return reply
    const item = collectionOf(world.calendars, caller.account).items.get(request.params.id)
    if (item !== undefined && !item.removed) return reply.send(presentEvent(item))
    return sendGraphError(
      world,
      request,
      reply,
      404,
      'ErrorItemNotFound',
      'The specified object was not found.',
    )
  })

  server.get<{ Querystring: Record<string, string | undefined> }>(deltaPath, async (request, reply) => {
    const caller = enter(world, request, reply)
    if (caller === null) return reply
    const { $deltatoken: token, startDateTime, endDateTime } = request.query
    if (token === undefined && (startDateTime === undefined || endDateTime === undefined)) {
      const message = 'This request requires a time window specified by startDateTime and endDateTime.'
      return sendGraphError(world, request, reply, 400, 'ErrorInvalidParameter', message)
    }
    if (token !== undefined && (world.faults.historyExpired || !/^\d+$/.test(token))) {
      reply.header('location', `${world.origin}${deltaPath}`)
      return sendGraphError(world, request, reply, 410, 'syncStateNotFound', 'The sync state is not found.')
    }
    const calendar = collectionOf(world.calendars, caller.account)
    return reply.send({
      '@odata.context': `${world.origin}/v1.0/$metadata#Collection(event)`,
      value: changedSince(calendar, Number(token ?? 0)).map((item) =>
        item.removed ? { id: item.id, '@removed': { reason: 'deleted' } } : presentEvent(item),
      ),
      '@odata.deltaLink': `${world.origin}${deltaPath}?$deltatoken=${calendar.version}`,
    })
  })
}

function enter(world: MicrosoftWorld, request: FastifyRequest, reply: FastifyReply): HeldToken | null {
  const caller = callerOf(world, request, reply)
  if (caller === null) return null
  const names = ['Calendars.Read', 'Calendars.ReadWrite']
  if (names.some((name) => includesScope(caller.scopes, name))) return caller
  sendGraphError(world, request, reply, 403, 'ErrorAccessDenied', 'Access is denied.')
  return null
}

export function presentEvent(item: Item) {
  const start = new Date(item.changedAt + 3_600_000).toISOString().slice(0, 23)
  return {
    '@odata.etag': `W/"${item.version}"`,
    id: item.id,
    subject: item.name,
    lastModifiedDateTime: new Date(item.changedAt).toISOString(),
    start: { dateTime: start, timeZone: 'UTC' },
  }
}
