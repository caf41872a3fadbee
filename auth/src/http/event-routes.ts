/** Doors of the events: newest first, each with its deliveries. Who sees what is decided in SQL by `delivery/`. */
import { Type } from 'typebox'
import { type Cursor, readCursor } from '../delivery/cursor.ts'
import type { History } from '../delivery/history-store.ts'
import { isId } from '../platform/ids.ts'
import { Delivery } from './delivery-routes.ts'
import { ok, problem, type Route, readerOf, route } from './route.ts'

export interface EventDoors {
  readonly history: History
}

const Text = Type.Union([Type.String(), Type.Null()])
const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const event = {
  id: Type.String(),
  type: Type.String(),
  provider: Text,
  origin_type: Text,
  subject: Text,
  source: Type.String(),
  connection_id: Text,
  account_label: Text,
  time: Text,
  received_at: Type.String(),
  recorded_at: Type.String(),
  deliveries: Type.Array(Delivery),
}

export function eventRoutes({ history }: EventDoors): Route[] {
  return [listRoute(history), detailRoute(history)]
}

const DEFAULT_LIMIT = 50

function listRoute(history: History): Route {
  return route({
    method: 'GET',
    path: '/internal/events',
    access: 'user',
    permission: 'events:read',
    summary:
      'Events, newest first. cursor: older ones; after (an event id, or head_cursor of an answer): newer ones; type: connection.v1.*',
    query: Type.Object(
      {
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
        cursor: Type.Optional(Type.String({ maxLength: 128 })),
        after: Type.Optional(Type.String({ maxLength: 128 })),
        type: Type.Optional(
          Type.String({ maxLength: 64, pattern: '^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*(\\.\\*)?$' }),
        ),
      },
      { additionalProperties: false },
    ),
    responses: {
      200: Type.Object({
        items: Type.Array(Type.Object(event)),
        next_cursor: Type.Optional(Type.String()),
        head_cursor: Type.String(),
      }),
      400: Problem,
    },
    async handle(request) {
      const viewer = readerOf(request)
      const { limit, cursor, after, type } = request.query
      const older = cursor === undefined ? undefined : readCursor(cursor)
      const newer = after === undefined ? undefined : await readAfter(after)
      if ((cursor !== undefined && older === undefined) || (after !== undefined && newer === undefined))
        return problem(400, 'invalid_cursor', 'Take cursors from an earlier answer, or leave them out.')
      return ok(
        await history.events(viewer, { limit: limit ?? DEFAULT_LIMIT, cursor: older, after: newer, type }),
      )

      async function readAfter(text: string): Promise<Cursor | undefined> {
        return isId('evt', text) ? history.position(viewer, text) : readCursor(text)
      }
    },
  })
}

function detailRoute(history: History): Route {
  return route({
    method: 'GET',
    path: '/internal/events/:id',
    access: 'user',
    permission: 'events:read',
    summary: 'One event with the body that is delivered, as text',
    params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
    responses: { 200: Type.Object({ ...event, payload: Type.String() }), 404: Problem },
    async handle(request) {
      const { id } = request.params
      const found = isId('evt', id) ? await history.event(readerOf(request), id) : undefined
      return found === undefined ? problem(404, 'not_found', 'There is no such event.') : ok(found)
    },
  })
}
