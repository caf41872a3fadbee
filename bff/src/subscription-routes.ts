/** One subscription of a connection, for the person it belongs to. Whose it is, is judged by Auth. Adds nothing. */
import { Type } from 'typebox'
import type { Deps } from './deps.ts'
import { type Route, route } from './route.ts'
import { closed, Id } from './shapes.ts'
import { withSession } from './views.ts'

const Choice = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean()),
    check_minutes: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1_440 }), Type.Null()])),
  },
  { ...closed, minProperties: 1 },
)

export function subscriptionRoutes({ auth }: Deps): Route[] {
  return [
    route({
      method: 'PATCH',
      path: '/bff/subscriptions/:id',
      access: 'session',
      changes: true,
      summary: 'Switches the watching of a resource off or on, or says how often it is checked.',
      params: Id,
      body: Choice,
      handle: (input) =>
        withSession(input, async (session) => {
          await auth.chooseSubscription(session, input.params.id, input.body)
          return { status: 204 }
        }),
    }),
    route({
      method: 'POST',
      path: '/bff/subscriptions/:id/renew',
      access: 'session',
      changes: true,
      summary: 'Renews it now; at the earliest ten minutes after its last renewal.',
      params: Id,
      handle: (input) =>
        withSession(input, async (session) => {
          await auth.renewSubscription(session, input.params.id)
          return { status: 204 }
        }),
    }),
  ]
}
