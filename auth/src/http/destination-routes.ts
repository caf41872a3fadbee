/** Doors of the destinations: for administrators, and the one that local mode sets up its receiver by. They translate. */
import { Type } from 'typebox'
import type { DestinationRow, Destinations } from '../delivery/destinations.ts'
import { isId } from '../platform/ids.ts'
import { callerOf, created, noContent, ok, problem, type Route, route } from './route.ts'

export interface DestinationDoors {
  readonly destinations: Destinations
  /** AUTH_MODE=local: opens the door that hands out the local receiver's secret. */
  readonly local: boolean
}

/** No control characters: PostgreSQL's text cannot hold a NUL, and a name is shown in one line. */
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]+$' })
const Url = Type.String({ minLength: 1, maxLength: 2048 })
const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const Destination = Type.Object({
  id: Type.String(),
  name: Type.String(),
  url: Type.String(),
  concurrency: Type.Integer(),
  rate_per_second: Type.Union([Type.Integer(), Type.Null()]),
  timeout_ms: Type.Integer(),
})

const REFUSED = problem(
  422,
  'egress_refused',
  'Deliveries may go to public https addresses on port 443, without user name. For one inside your network, name host, port and path in EGRESS_ALLOW.',
)
const UNKNOWN = problem(404, 'not_found', 'There is no such destination.')

export function destinationRoutes({ destinations, local }: DestinationDoors): Route[] {
  return [
    listRoute(destinations),
    createRoute(destinations),
    deleteRoute(destinations),
    ...(local ? [localRoute(destinations)] : []),
  ]
}

function listRoute(destinations: Destinations): Route {
  return route({
    method: 'GET',
    path: '/internal/destinations',
    access: 'admin',
    summary: 'All destinations, oldest first',
    responses: { 200: Type.Object({ items: Type.Array(Destination) }) },
    handle: async () => ok({ items: (await destinations.list()).map(viewOf) }),
  })
}

function createRoute(destinations: Destinations): Route {
  return route({
    method: 'POST',
    path: '/internal/destinations',
    access: 'admin',
    summary: 'A new destination; its signing secret is shown this once',
    body: Type.Object(
      {
        name: Name,
        url: Url,
        concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        rate_per_second: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
        timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 30_000 })),
      },
      { additionalProperties: false },
    ),
    responses: {
      201: Type.Object({ id: Type.String(), name: Type.String(), url: Type.String(), secret: Type.String() }),
      422: Problem,
    },
    async handle(request) {
      const { name, url, concurrency, rate_per_second, timeout_ms } = request.body
      const made = await destinations.create(`user:${callerOf(request).userId}`, {
        name,
        url,
        concurrency,
        ratePerSecond: rate_per_second,
        timeoutMs: timeout_ms,
      })
      if (made.kind === 'egress_refused') return REFUSED
      return created({ id: made.id, name: made.name, url: made.url, secret: made.secret })
    },
  })
}

function deleteRoute(destinations: Destinations): Route {
  return route({
    method: 'DELETE',
    path: '/internal/destinations/:id',
    access: 'admin',
    summary: 'Deletes a destination: its rules are off, what was on the way is cancelled',
    params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
    responses: { 204: Type.Null(), 404: Problem },
    async handle(request) {
      const { id } = request.params
      const actor = `user:${callerOf(request).userId}`
      return isId('dst', id) && (await destinations.remove(actor, id)) ? noContent() : UNKNOWN
    },
  })
}

function localRoute(destinations: Destinations): Route {
  return route({
    method: 'PUT',
    path: '/internal/local/destination',
    access: 'service',
    summary:
      'Local mode: the bundled receiver as destination with a rule for everything; the same answer every time',
    body: Type.Object({ url: Url, name: Name }, { additionalProperties: false }),
    responses: { 200: Type.Object({ id: Type.String(), secret: Type.String() }), 422: Problem },
    async handle(request) {
      const ready = await destinations.ensureLocal(request.body.url, request.body.name)
      return ready.kind === 'ready' ? ok({ id: ready.id, secret: ready.secret }) : REFUSED
    },
  })
}

function viewOf(row: DestinationRow) {
  const { id, name, url, concurrency, rate_per_second, timeout_ms } = row
  return { id, name, url, concurrency, rate_per_second, timeout_ms }
}
