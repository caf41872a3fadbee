/** Doors to one subscription of a connection: switch it off and on, check it more often, renew it now. */
import { Type } from 'typebox'
import { type ChoiceNeeds, chooseSubscription, renewNow } from '../subscriptions/choices.ts'
import { callerOf, noContent, problem, type Route, route } from './route.ts'

export type SubscriptionDoors = ChoiceNeeds

const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const Params = Type.Object(
  { id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) },
  { additionalProperties: false },
)
const unknown = () =>
  problem(404, 'not_found', 'There is no such subscription. GET /internal/connections lists them.')

export function subscriptionRoutes(needs: SubscriptionDoors): Route[] {
  return [
    route({
      method: 'PATCH',
      path: '/internal/subscriptions/:id',
      access: 'user',
      summary: 'Switch the watching of a resource off or on, or say how often it is checked',
      params: Params,
      body: Type.Object(
        {
          enabled: Type.Optional(Type.Boolean()),
          check_minutes: Type.Optional(
            Type.Union([Type.Integer({ minimum: 1, maximum: 1_440 }), Type.Null()]),
          ),
        },
        { additionalProperties: false, minProperties: 1 },
      ),
      responses: { 204: Type.Null(), 404: Problem, 409: Problem },
      async handle(request) {
        const { enabled, check_minutes: checkMinutes } = request.body
        const choice = { enabled, checkMinutes }
        const outcome = await chooseSubscription(needs, callerOf(request), request.params.id, choice)
        if (outcome === 'not_found') return unknown()
        return outcome === 'ok'
          ? noContent()
          : problem(409, 'not_living', 'The connection is not active, or is being changed now: try again.')
      },
    }),
    route({
      method: 'POST',
      path: '/internal/subscriptions/:id/renew',
      access: 'user',
      summary: 'Renew it now; at the earliest ten minutes after its last renewal',
      params: Params,
      responses: { 204: Type.Null(), 404: Problem, 409: Problem },
      async handle(request) {
        const outcome = await renewNow(needs, callerOf(request), request.params.id)
        if (outcome === 'not_found') return unknown()
        return outcome === 'ok'
          ? noContent()
          : problem(
              409,
              'not_live',
              'It is not active: there is nothing to renew. Its state says what it waits for.',
            )
      },
    }),
  ]
}
