/** Doors of what can be done with a destination besides changing it: a new signing secret, an example event. They translate. */
import { Type } from 'typebox'
import type { Destinations } from '../delivery/destinations.ts'
import type { TestOutcome } from '../delivery/send-test.ts'
import { isId } from '../platform/ids.ts'
import { Problem } from './destination-shapes.ts'
import { callerOf, ok, problem, type Route, route } from './route.ts'

export interface DestinationActionDoors {
  readonly destinations: Destinations
  readonly sendTest: (actor: string, id: string, to: 'production' | 'test') => Promise<TestOutcome>
}

const UNKNOWN = problem(404, 'not_found', 'There is no such destination.')
const ById = Type.Object({ id: Type.String({ maxLength: 64 }) })
const actorOf = (request: Parameters<typeof callerOf>[0]) => `user:${callerOf(request).userId}`
const PATH = '/internal/destinations'

export function destinationActionRoutes(doors: DestinationActionDoors): Route[] {
  return [rotateRoute(doors.destinations), testRoute(doors)]
}

const DAY_SECONDS = 24 * 3600

function rotateRoute(destinations: Destinations): Route {
  return route({
    method: 'POST',
    path: `${PATH}/:id/rotate-secret`,
    access: 'admin',
    summary: 'A new signing secret, shown this once; the earlier one signs too for overlap_seconds (a day)',
    params: ById,
    body: Type.Object(
      {
        overlap_seconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 30 * DAY_SECONDS })),
        replace_running: Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
    responses: {
      200: Type.Object({
        secret: Type.String(),
        previous_secret_until: Type.Union([Type.String(), Type.Null()]),
      }),
      404: Problem,
      409: Problem,
    },
    async handle(request) {
      const { id } = request.params
      if (!isId('dst', id)) return UNKNOWN
      const rotation = await destinations.rotate(actorOf(request), id, {
        overlapSeconds: request.body.overlap_seconds ?? DAY_SECONDS,
        replaceRunning: request.body.replace_running ?? false,
      })
      if (rotation.kind === 'unknown') return UNKNOWN
      if (rotation.kind === 'still_overlapping')
        return problem(
          409,
          'rotation_running',
          `An earlier secret signs until ${rotation.until.toISOString()}. Wait for it, or say replace_running if no receiver needs it.`,
        )
      return ok({
        secret: rotation.secret,
        previous_secret_until: rotation.previousUntil?.toISOString() ?? null,
      })
    },
  })
}

function testRoute({ sendTest }: DestinationActionDoors): Route {
  const Ms = Type.Optional(Type.Number())
  return route({
    method: 'POST',
    path: `${PATH}/:id/test`,
    access: 'admin',
    summary: 'Sends an example event and explains the answer; nothing is stored or tried again',
    params: ById,
    body: Type.Object(
      { to: Type.Optional(Type.Union([Type.Literal('production'), Type.Literal('test')])) },
      { additionalProperties: false },
    ),
    responses: {
      200: Type.Object({
        delivered: Type.Boolean(),
        event_id: Type.String(),
        status: Type.Union([Type.Integer(), Type.Null()]),
        error: Type.Union([Type.String(), Type.Null()]),
        explanation: Type.String(),
        phases: Type.Object({
          lookupMs: Ms,
          connectMs: Ms,
          tlsMs: Ms,
          firstByteMs: Ms,
          totalMs: Type.Number(),
        }),
        headers: Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())])),
        body: Type.String(),
      }),
      404: Problem,
      409: Problem,
    },
    async handle(request) {
      const { id } = request.params
      if (!isId('dst', id)) return UNKNOWN
      const outcome = await sendTest(actorOf(request), id, request.body.to ?? 'production')
      if (outcome.kind === 'unknown') return UNKNOWN
      if (outcome.kind === 'no_test_url')
        return problem(
          409,
          'no_test_url',
          'This destination has no test_url: set one, or test the production URL.',
        )
      if (outcome.kind === 'vault_error')
        return problem(
          409,
          'vault_error',
          'The destination’s secrets cannot be opened: see the key ring (keys status).',
        )
      const { eventId, ...report } = outcome.report
      return ok({ ...report, event_id: eventId })
    },
  })
}
