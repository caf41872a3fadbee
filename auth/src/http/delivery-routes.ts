/** Door of single deliveries, with their attempts. Who sees what is decided in SQL by `delivery/`. */
import { Type } from 'typebox'
import type { History } from '../delivery/history-store.ts'
import { isId } from '../platform/ids.ts'
import { callerOf, ok, problem, type Route, route } from './route.ts'

export interface DeliveryDoors {
  readonly history: History
}

const Text = Type.Union([Type.String(), Type.Null()])

export const Delivery = Type.Object({
  id: Type.String(),
  destination_id: Type.String(),
  destination_name: Type.String(),
  state: Type.String(),
  reason: Text,
  due_at: Text,
  finished_at: Text,
  attempts: Type.Array(
    Type.Object({
      number: Type.Integer(),
      started_at: Type.String(),
      duration_ms: Type.Number(),
      outcome: Type.String(),
      status: Type.Union([Type.Integer(), Type.Null()]),
      error: Text,
    }),
  ),
})

export function deliveryRoutes({ history }: DeliveryDoors): Route[] {
  return [
    route({
      method: 'GET',
      path: '/internal/deliveries/:id',
      access: 'user',
      summary: 'One delivery with its attempts',
      params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
      responses: {
        200: Delivery,
        404: Type.Object({ error: Type.String(), message: Type.String() }),
      },
      async handle(request) {
        const { id } = request.params
        const found = isId('dlv', id) ? await history.delivery(callerOf(request), id) : undefined
        return found === undefined ? problem(404, 'not_found', 'There is no such delivery.') : ok(found)
      },
    }),
  ]
}
