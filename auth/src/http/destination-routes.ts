/** Doors of the destinations: for administrators, and the one that local mode sets up its receiver by. They translate. */
import { Type } from 'typebox'
import type { Destinations } from '../delivery/destinations.ts'
import { isId } from '../platform/ids.ts'
import { type DestinationActionDoors, destinationActionRoutes } from './destination-action-routes.ts'
import {
  ChangeBody,
  Destination,
  destinationView,
  Name,
  NewDestinationBody,
  Problem,
  Refusal,
  Url,
  valuesOf,
} from './destination-shapes.ts'
import { callerOf, created, noContent, ok, problem, type Reply, type Route, route } from './route.ts'

export interface DestinationDoors extends DestinationActionDoors {
  readonly destinations: Destinations
  /** AUTH_MODE=local: opens the door that hands out the local receiver's secret. */
  readonly local: boolean
}

const REFUSED = problem(
  422,
  'egress_refused',
  'Deliveries may go to public https addresses on port 443, without user name. For one inside your network, name host, port and path in EGRESS_ALLOW.',
)
const HEADERS_NEEDED = problem(
  422,
  'headers_needed',
  'This address is of another host, port or scheme than the stored header values were given for, and they are never sent elsewhere: give headers again, all of them, or an empty object for none.',
)
const UNKNOWN = problem(404, 'not_found', 'There is no such destination.')
const invalid = (mistakes: readonly string[]): Reply => ({
  status: 400,
  body: { error: 'invalid_destination', message: mistakes.join(' '), mistakes: [...mistakes] },
})
const ById = Type.Object({ id: Type.String({ maxLength: 64 }) })
const actorOf = (request: Parameters<typeof callerOf>[0]) => `user:${callerOf(request).userId}`
const PATH = '/internal/destinations'

export function destinationRoutes(doors: DestinationDoors): Route[] {
  const { destinations, local } = doors
  return [
    listRoute(destinations),
    createRoute(destinations),
    detailRoute(destinations),
    changeRoute(destinations),
    holdRoute('pause', 'Holds its deliveries; nothing is lost', destinations.pause),
    holdRoute('resume', 'Ends a pause, or takes a disabled destination into use again', destinations.resume),
    ...destinationActionRoutes(doors),
    deleteRoute(destinations),
    ...(local ? [localRoute(destinations)] : []),
  ]
}

function listRoute(destinations: Destinations): Route {
  return route({
    method: 'GET',
    path: PATH,
    access: 'admin',
    summary: 'All destinations, oldest first',
    responses: { 200: Type.Object({ items: Type.Array(Destination) }) },
    handle: async () => ok({ items: (await destinations.list()).map(destinationView) }),
  })
}

function createRoute(destinations: Destinations): Route {
  return route({
    method: 'POST',
    path: PATH,
    access: 'admin',
    summary: 'A new destination; its signing secret is shown this once',
    body: NewDestinationBody,
    responses: {
      201: Type.Object({ id: Type.String(), name: Type.String(), url: Type.String(), secret: Type.String() }),
      400: Refusal,
      422: Problem,
    },
    async handle(request) {
      const { name, url } = request.body
      const made = await destinations.create(actorOf(request), { ...valuesOf(request.body), name, url })
      if (made.kind === 'egress_refused') return REFUSED
      if (made.kind === 'invalid') return invalid(made.mistakes)
      return created({ id: made.id, name: made.name, url: made.url, secret: made.secret })
    },
  })
}

function detailRoute(destinations: Destinations): Route {
  return route({
    method: 'GET',
    path: `${PATH}/:id`,
    access: 'admin',
    summary: 'One destination',
    params: ById,
    responses: { 200: Destination, 404: Problem },
    async handle({ params }) {
      const row = isId('dst', params.id) ? await destinations.find(params.id) : undefined
      return row === undefined ? UNKNOWN : ok(destinationView(row))
    },
  })
}

function changeRoute(destinations: Destinations): Route {
  return route({
    method: 'PATCH',
    path: `${PATH}/:id`,
    access: 'admin',
    summary:
      'Changes what is given; null takes a setting back to its default. An address of another origin needs headers given again where some are stored',
    params: ById,
    body: ChangeBody,
    responses: { 200: Destination, 400: Refusal, 404: Problem, 422: Problem },
    async handle(request) {
      const { id } = request.params
      if (!isId('dst', id)) return UNKNOWN
      const outcome = await destinations.change(actorOf(request), id, valuesOf(request.body))
      switch (outcome.kind) {
        case 'changed':
          return ok(destinationView(outcome.destination))
        case 'unknown':
          return UNKNOWN
        case 'headers_needed':
          return HEADERS_NEEDED
        case 'egress_refused':
          return REFUSED
        case 'invalid':
          return invalid(outcome.mistakes)
        default:
          return outcome satisfies never
      }
    },
  })
}

function holdRoute(verb: 'pause' | 'resume', summary: string, hold: Destinations['pause']): Route {
  return route({
    method: 'POST',
    path: `${PATH}/:id/${verb}`,
    access: 'admin',
    summary,
    params: ById,
    responses: { 200: Destination, 404: Problem },
    async handle(request) {
      const { id } = request.params
      const row = isId('dst', id) ? await hold(actorOf(request), id) : undefined
      return row === undefined ? UNKNOWN : ok(destinationView(row))
    },
  })
}

function deleteRoute(destinations: Destinations): Route {
  return route({
    method: 'DELETE',
    path: `${PATH}/:id`,
    access: 'admin',
    summary: 'Deletes a destination: its rules are off, what was on the way is cancelled',
    params: ById,
    responses: { 204: Type.Null(), 404: Problem },
    async handle(request) {
      const { id } = request.params
      return isId('dst', id) && (await destinations.remove(actorOf(request), id)) ? noContent() : UNKNOWN
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
