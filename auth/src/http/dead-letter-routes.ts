/** Doors to how a destination is doing, and to the retry of all that died there. For administrators; they translate. */
import { Type } from 'typebox'
import type { DeadLetters } from '../delivery/dead-letters.ts'
import type { DestinationHealth } from '../delivery/health-store.ts'
import { isId } from '../platform/ids.ts'
import { callerOf, ok, problem, type Route, route } from './route.ts'

export interface DeadLetterDoors {
  readonly deadLetters: DeadLetters
  /** @returns undefined when there is no such destination */
  readonly destinationHealth: (id: string) => Promise<DestinationHealth | undefined>
}

const Text = Type.Union([Type.String(), Type.Null()])
const Milliseconds = Type.Union([Type.Number(), Type.Null()])
const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const Params = Type.Object({ id: Type.String({ maxLength: 64 }) })
const UNKNOWN = problem(404, 'not_found', 'There is no such destination.')
const counts = {
  delivered: Type.Integer(),
  failed: Type.Integer(),
  p50_ms: Milliseconds,
  p95_ms: Milliseconds,
}

export function deadLetterRoutes({ deadLetters, destinationHealth }: DeadLetterDoors): Route[] {
  return [healthRoute(destinationHealth), countRoute(deadLetters), retryRoute(deadLetters)]
}

function healthRoute(destinationHealth: DeadLetterDoors['destinationHealth']): Route {
  return route({
    method: 'GET',
    path: '/internal/destinations/:id/health',
    access: 'admin',
    summary: 'State, breaker, what waits, and the last hour minute by minute',
    params: Params,
    responses: {
      200: Type.Object({
        destination_id: Type.String(),
        state: Type.String(),
        disabled_reason: Text,
        breaker: Type.String(),
        probe_at: Text,
        held_until: Text,
        failing_since: Text,
        open: Type.Integer(),
        due: Type.Integer(),
        in_flight: Type.Integer(),
        dead: Type.Integer(),
        oldest_due_seconds: Type.Number(),
        last_hour: Type.Object({
          ...counts,
          minutes: Type.Array(Type.Object({ at: Type.String(), ...counts })),
        }),
      }),
      404: Problem,
    },
    async handle(request) {
      const { id } = request.params
      const health = isId('dst', id) ? await destinationHealth(id) : undefined
      return health === undefined ? UNKNOWN : ok(health)
    },
  })
}

/** The dry run. */
function countRoute(deadLetters: DeadLetters): Route {
  return route({
    method: 'GET',
    path: '/internal/destinations/:id/retry-dead',
    access: 'admin',
    summary: 'How many dead deliveries a retry would take',
    params: Params,
    responses: { 200: Type.Object({ count: Type.Integer() }), 404: Problem },
    async handle(request) {
      const { id } = request.params
      const count = isId('dst', id) ? await deadLetters.count(id) : undefined
      return count === undefined ? UNKNOWN : ok({ count })
    },
  })
}

function retryRoute(deadLetters: DeadLetters): Route {
  return route({
    method: 'POST',
    path: '/internal/destinations/:id/retry-dead',
    access: 'admin',
    summary:
      'Retries all dead deliveries behind live ones, if they are as many as GET counted; the same key is the same retry, for thirty days',
    params: Params,
    body: Type.Object(
      {
        expected_count: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
        idempotency_key: Type.String({ pattern: '^[A-Za-z0-9_-]{8,64}$' }),
      },
      { additionalProperties: false },
    ),
    responses: {
      202: Type.Object({
        id: Type.String(),
        expected: Type.Integer(),
        released: Type.Integer(),
        running: Type.Boolean(),
      }),
      404: Problem,
      409: Problem,
    },
    async handle(request) {
      const { id } = request.params
      const { body } = request
      if (!isId('dst', id)) return UNKNOWN
      const answer = await deadLetters.retryAll(`user:${callerOf(request).userId}`, {
        destinationId: id,
        expected: body.expected_count,
        idempotencyKey: body.idempotency_key,
      })
      switch (answer.kind) {
        case 'accepted': {
          const { expected, released, running } = answer.retry
          return { status: 202, body: { id: answer.retry.id, expected, released, running } }
        }
        case 'count_changed':
          return problem(
            409,
            'count_changed',
            'Another number of deliveries is dead by now: count them again, then ask again.',
          )
        case 'running':
          return problem(409, 'retry_running', 'A retry of this destination is still running: wait for it.')
        case 'unknown':
          return UNKNOWN
        default:
          return answer satisfies never
      }
    },
  })
}
