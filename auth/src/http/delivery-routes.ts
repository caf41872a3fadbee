/**
 * Doors of the deliveries: the list, one with its attempts, and the retry of a dead one. Who sees what is decided in SQL
 * by `delivery/`: users see the deliveries of their own events, one at a time; the list is for administrators.
 */
import { Type } from 'typebox'
import { readCursor } from '../delivery/cursor.ts'
import type { DeadLetters } from '../delivery/dead-letters.ts'
import type { DeliveryPage, DeliveryQuery } from '../delivery/delivery-list-store.ts'
import type { History } from '../delivery/history-store.ts'
import { isId } from '../platform/ids.ts'
import { callerOf, ok, problem, type Route, route } from './route.ts'

export interface DeliveryDoors {
  readonly history: History
  readonly listDeliveries: (query: DeliveryQuery) => Promise<DeliveryPage>
  readonly deadLetters: DeadLetters
}

const Text = Type.Union([Type.String(), Type.Null()])
const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const attempt = {
  number: Type.Integer(),
  started_at: Type.String(),
  duration_ms: Type.Number(),
  outcome: Type.String(),
  status: Type.Union([Type.Integer(), Type.Null()]),
  error: Text,
}
const delivery = {
  id: Type.String(),
  destination_id: Type.String(),
  destination_name: Type.String(),
  state: Type.String(),
  reason: Text,
  due_at: Text,
  finished_at: Text,
  /** Of an open one: why it does not go now, and until when its destination is left alone. */
  waiting: Text,
  held_until: Text,
  probe_at: Text,
}

export const Delivery = Type.Object({ ...delivery, attempts: Type.Array(Type.Object(attempt)) })

const DeliveryDetail = Type.Object({
  ...delivery,
  event_id: Type.String(),
  /** False when retention has dropped it. */
  event_kept: Type.Boolean(),
  attempts: Type.Array(
    Type.Object({
      ...attempt,
      phases: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
      response_headers: Type.Optional(
        Type.Union([
          Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())])),
          Type.Null(),
        ]),
      ),
      response_body: Type.Optional(Text),
    }),
  ),
})

const UNKNOWN = problem(404, 'not_found', 'There is no such delivery.')
const Params = Type.Object({ id: Type.String({ maxLength: 64 }) })
const DEFAULT_LIMIT = 50

export function deliveryRoutes({ history, listDeliveries, deadLetters }: DeliveryDoors): Route[] {
  return [listRoute(listDeliveries), detailRoute(history), retryRoute(deadLetters)]
}

const Moment = Type.String({
  maxLength: 30,
  pattern: '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,3})?Z$',
})

function listRoute(listDeliveries: DeliveryDoors['listDeliveries']): Route {
  return route({
    method: 'GET',
    path: '/internal/deliveries',
    access: 'admin',
    summary:
      'Deliveries, newest first by when they finished, died or are due. paused and throttled are open ones that wait',
    query: Type.Object(
      {
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
        cursor: Type.Optional(Type.String({ maxLength: 128 })),
        state: Type.Optional(
          Type.Union([
            Type.Literal('open'),
            Type.Literal('delivered'),
            Type.Literal('dead'),
            Type.Literal('cancelled'),
            Type.Literal('expired'),
            Type.Literal('paused'),
            Type.Literal('throttled'),
          ]),
        ),
        destination: Type.Optional(Type.String({ pattern: '^dst_[a-z2-7]{26}$' })),
        event: Type.Optional(Type.String({ pattern: '^evt_[a-z2-7]{26}$' })),
        from: Type.Optional(Moment),
        to: Type.Optional(Moment),
      },
      { additionalProperties: false },
    ),
    responses: {
      200: Type.Object({
        items: Type.Array(
          Type.Object({
            id: Type.String(),
            event_id: Type.String(),
            destination_id: Type.String(),
            destination_name: Type.String(),
            rule_id: Type.String(),
            state: Type.String(),
            reason: Text,
            waiting: Text,
            attempts: Type.Integer(),
            created_at: Type.String(),
            at: Type.String(),
          }),
        ),
        next_cursor: Type.Optional(Type.String()),
      }),
      400: Problem,
    },
    async handle(request) {
      const { limit, cursor, state, destination, event, from, to } = request.query
      const place = cursor === undefined ? undefined : readCursor(cursor)
      if (cursor !== undefined && place === undefined)
        return problem(400, 'invalid_cursor', 'Take cursors from an earlier answer, or leave them out.')
      const times = [from, to].map((text) => (text === undefined ? undefined : new Date(text)))
      if (times.some((time) => time !== undefined && Number.isNaN(time.getTime())))
        return problem(
          400,
          'invalid_request',
          'A moment is a date that exists, in UTC: 2026-01-31T12:00:00Z.',
        )
      return ok(
        await listDeliveries({
          limit: limit ?? DEFAULT_LIMIT,
          cursor: place,
          state,
          destinationId: destination,
          eventId: event,
          from: times[0],
          to: times[1],
        }),
      )
    },
  })
}

function detailRoute(history: History): Route {
  return route({
    method: 'GET',
    path: '/internal/deliveries/:id',
    access: 'user',
    summary:
      'One delivery with its attempts, and why an open one waits; an administrator sees what the attempts met',
    params: Params,
    responses: { 200: DeliveryDetail, 404: Problem },
    async handle(request) {
      const { id } = request.params
      const found = isId('dlv', id) ? await history.delivery(callerOf(request), id) : undefined
      return found === undefined ? UNKNOWN : ok(found)
    },
  })
}

function retryRoute(deadLetters: DeadLetters): Route {
  return route({
    method: 'POST',
    path: '/internal/deliveries/:id/retry',
    access: 'admin',
    summary: 'Puts a dead delivery back on its way, once: retried is false when it was before',
    params: Params,
    responses: {
      200: Type.Object({ id: Type.String(), state: Type.Literal('open'), retried: Type.Boolean() }),
      404: Problem,
      409: Problem,
    },
    async handle(request) {
      const { id } = request.params
      if (!isId('dlv', id)) return UNKNOWN
      const retry = await deadLetters.retry(`user:${callerOf(request).userId}`, id)
      switch (retry.kind) {
        case 'open':
          return ok({ id, state: 'open', retried: retry.retried })
        case 'finished':
          return problem(409, 'delivery_finished', 'This delivery has ended: only dead ones can be retried.')
        case 'unknown':
          return UNKNOWN
        default:
          return retry satisfies never
      }
    },
  })
}
