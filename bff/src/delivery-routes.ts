/** The part of the table that shows deliveries, dead letters and the health of destinations: for administrators. */
import { Type } from 'typebox'
import * as views from './delivery-views.ts'
import type { Deps } from './deps.ts'
import { type Route, route } from './route.ts'
import { closed, Id } from './shapes.ts'

const Moment = Type.String({ pattern: '^[0-9T:.-]{19,23}Z$' })
const DeliveryList = Type.Object(
  {
    cursor: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_.~=-]{1,512}$' })),
    limit: Type.Optional(Type.String({ pattern: '^([1-9]|[1-9][0-9]|100)$' })),
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
    destination: Type.Optional(Type.String({ pattern: '^dst_[a-z2-7]{1,64}$' })),
    event: Type.Optional(Type.String({ pattern: '^evt_[a-z2-7]{1,64}$' })),
    from: Type.Optional(Moment),
    to: Type.Optional(Moment),
  },
  closed,
)
const DeadRetry = Type.Object(
  {
    expected_count: Type.Integer({ minimum: 1 }),
    idempotency_key: Type.String({ pattern: '^[A-Za-z0-9_-]{8,64}$' }),
  },
  closed,
)

export function deliveryRoutes(deps: Deps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/bff/deliveries',
      access: 'session',
      changes: false,
      summary: 'Deliveries, newest first; for administrators.',
      query: DeliveryList,
      handle: (input) => views.deliveries(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/deliveries/:id',
      access: 'session',
      changes: false,
      summary: 'One delivery with its attempts; an administrator sees what they met.',
      params: Id,
      handle: (input) => views.delivery(deps, input),
    }),
    route({
      method: 'POST',
      path: '/bff/deliveries/:id/retry',
      access: 'session',
      changes: true,
      summary: 'Puts a dead delivery back on its way, once.',
      params: Id,
      handle: (input) => views.retryDelivery(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/destinations/:id/health',
      access: 'session',
      changes: false,
      summary: 'State, breaker, what waits, and the last hour minute by minute.',
      params: Id,
      handle: (input) => views.destinationHealth(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/destinations/:id/retry-dead',
      access: 'session',
      changes: false,
      summary: 'How many dead deliveries a retry would take.',
      params: Id,
      handle: (input) => views.countDead(deps, input),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations/:id/retry-dead',
      access: 'session',
      changes: true,
      summary: 'Retries all dead deliveries of a destination behind live ones.',
      params: Id,
      body: DeadRetry,
      handle: (input) => views.retryDead(deps, input),
    }),
  ]
}
