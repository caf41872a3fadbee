/** Doors of the platform to what the service holds of a user: deletion with a receipt. They translate and never decide. */
import { Type } from 'typebox'
import type { DisconnectNeeds } from '../connections/disconnect.ts'
import { eraseUser } from '../connections/erasure.ts'
import { coversUser } from '../db/connection-scope.ts'
import { ok, problem, type Route, route, serviceOf } from './route.ts'

const Problem = Type.Object({ error: Type.String(), message: Type.String() })

export function userRoutes(needs: DisconnectNeeds): Route[] {
  return [
    route({
      method: 'DELETE',
      path: '/internal/users/:id',
      access: 'service',
      permission: 'users:delete',
      summary:
        'Ends and deletes everything of a user; asked again, the same receipt with its progress. The row in auth.users is the platform’s',
      params: Type.Object(
        { id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) },
        { additionalProperties: false },
      ),
      responses: {
        200: Type.Object({
          receipt: Type.String(),
          requested_at: Type.String(),
          finished_at: Type.Union([Type.String(), Type.Null()]),
          deleted: Type.Record(Type.String(), Type.Integer()),
          revoking: Type.Integer(),
        }),
        404: Problem,
      },
      async handle(request) {
        const { actor, scope } = serviceOf(request)
        const { id } = request.params
        const outcome = coversUser(scope, id)
          ? await eraseUser(needs, actor, id)
          : ({ kind: 'unknown' } as const)
        if (outcome.kind === 'unknown')
          return problem(404, 'not_found', 'Nothing is held of such a user: there is nothing to delete.')
        const { receipt } = outcome
        return ok({
          receipt: receipt.id,
          requested_at: receipt.requested_at.toISOString(),
          finished_at: receipt.finished_at?.toISOString() ?? null,
          deleted: receipt.counts,
          revoking: receipt.revoking,
        })
      },
    }),
  ]
}
