/** Doors to connections: the list and the local disconnect. They translate and never decide. */
import { Type } from 'typebox'
import { type DisconnectNeeds, disconnect } from '../connections/disconnect.ts'
import { type ListNeeds, listConnections } from '../connections/list.ts'
import { callerOf, ok, problem, type Route, readerOf, route } from './route.ts'

export interface ConnectionRouteNeeds extends Omit<DisconnectNeeds, 'subscriptions'> {
  readonly subscriptions: ListNeeds['subscriptions'] & DisconnectNeeds['subscriptions']
}

const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const MaybeText = Type.Union([Type.String(), Type.Null()])

const AtProvider = Type.Object({
  kind: Type.Union([
    Type.Literal('revoked_by_us'),
    Type.Literal('shared_with_other_connection'),
    Type.Literal('withdraw_yourself'),
  ]),
  /** Where a person sees and withdraws the consent himself. */
  url: MaybeText,
})

/** `ConnectionView` of the wire. */
export const Connection = Type.Object({
  id: Type.String(),
  provider: Type.String(),
  account_label: Type.String(),
  status: Type.String(),
  status_reason: MaybeText,
  scopes_granted: Type.Array(Type.String()),
  scopes_missing: Type.Array(Type.String()),
  user_id: MaybeText,
  created_at: Type.String(),
  updated_at: Type.String(),
  subscriptions: Type.Array(
    Type.Object({
      id: Type.String(),
      kind: Type.String(),
      resource: Type.String(),
      state: Type.String(),
      expires_at: MaybeText,
      created_at: Type.String(),
      last_notification_at: MaybeText,
      failure_code: MaybeText,
      last_renewed_at: MaybeText,
      renews_at: MaybeText,
      renewal_failure_code: MaybeText,
      enabled: Type.Boolean(),
      last_checked_at: MaybeText,
      next_check_at: MaybeText,
      missed: Type.Integer(),
      missed_at: MaybeText,
      check_minutes: Type.Union([Type.Integer(), Type.Null()]),
      gaps: Type.Array(Type.Object({ reason: Type.String(), from: Type.String(), to: MaybeText })),
    }),
  ),
  /** What a disconnect does at the provider. */
  at_disconnect: AtProvider,
})

export function connectionRoutes(needs: ConnectionRouteNeeds): Route[] {
  return [
    route({
      method: 'GET',
      path: '/internal/connections',
      access: 'user',
      permission: 'connections:read',
      summary: 'Connections: one’s own, all for an admin, those of its scope for a named caller',
      responses: { 200: Type.Object({ items: Type.Array(Connection) }) },
      handle: async (request) => ok({ items: await listConnections(needs, readerOf(request)) }),
    }),
    route({
      method: 'DELETE',
      path: '/internal/connections/:id',
      access: 'user',
      summary: 'Disconnect: here at once, at the provider as the answer says',
      params: Type.Object(
        { id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) },
        { additionalProperties: false },
      ),
      responses: {
        200: Type.Object({ status: Type.String(), at_provider: AtProvider }),
        404: Problem,
      },
      async handle(request) {
        const outcome = await disconnect(needs, request.params.id, callerOf(request))
        return outcome.kind === 'disconnected'
          ? ok({ status: outcome.status, at_provider: outcome.atProvider })
          : problem(404, 'not_found', 'There is no such connection. GET /internal/connections lists them.')
      },
    }),
  ]
}
