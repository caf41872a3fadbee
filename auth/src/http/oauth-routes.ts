/** Doors to connecting: the providers in use, beginning a flow, completing it. They translate and never decide. */
import type { Provider } from '@flovify/providers'
import { Type } from 'typebox'
import { type BeginNeeds, type BeginRefusal, beginFlow } from '../connections/begin.ts'
import { type CompleteNeeds, completeFlow } from '../connections/complete.ts'
import { viewConnection } from '../connections/list.ts'
import { Connection } from './connection-routes.ts'
import { ok, problem, type Reply, type Route, route } from './route.ts'

export interface OauthRouteNeeds extends BeginNeeds, CompleteNeeds {
  /** In the order of the catalogue. */
  readonly providers: readonly Provider[]
}

const Problem = Type.Object({ error: Type.String(), message: Type.String() })
/** Integer or uuid: whatever auth.users has. */
const UserId = Type.Union([Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' }), Type.Integer({ minimum: 0 })])

const REFUSALS: Record<BeginRefusal, readonly [status: number, message: string]> = {
  unknown_provider: [404, 'This provider is unknown or not configured. GET /internal/providers lists them.'],
  unknown_user: [400, 'There is no such user.'],
  invalid_state: [400, 'A state needs at least 43 base64url or 64 hexadecimal characters; or leave it out.'],
  state_used: [400, 'This state was used before. Make a new one, or leave it out.'],
  invalid_binding: [400, 'session_binding must be base64url of 32 bytes.'],
  invalid_expiry: [400, 'expires_in must be between 1 and 600 seconds.'],
  unknown_scope: [400, 'A scope is not in the list of this provider. GET /internal/providers lists them.'],
  too_many_flows: [429, 'Too many connections are being made at once. Finish one, or wait ten minutes.'],
}

export function oauthRoutes(needs: OauthRouteNeeds): Route[] {
  return [
    route({
      method: 'GET',
      path: '/internal/providers',
      access: 'service',
      permission: 'connections:read',
      summary: 'The providers in use, with their scopes',
      responses: {
        200: Type.Object({
          items: Type.Array(
            Type.Object({
              id: Type.String(),
              label: Type.String(),
              scopes: Type.Array(
                Type.Object({ scope: Type.String(), sentence: Type.String(), default: Type.Boolean() }),
              ),
            }),
          ),
        }),
      },
      handle: async () => ok({ items: needs.providers.map(providerView) }),
    }),
    route({
      method: 'POST',
      path: '/internal/oauth/create-state',
      access: 'service',
      summary: 'Begin a flow: store its state and answer with the authorization URL',
      body: Type.Object(
        {
          user_id: UserId,
          provider: Type.String({ minLength: 1, maxLength: 32 }),
          session_binding: Type.String({ minLength: 1, maxLength: 64 }),
          state: Type.Optional(Type.String({ maxLength: 1024 })),
          expires_in: Type.Optional(Type.Integer()),
          scopes: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 64 })),
        },
        { additionalProperties: false },
      ),
      responses: {
        200: Type.Object({ status: Type.Literal('ok'), state: Type.String(), authUrl: Type.String() }),
        400: Problem,
        404: Problem,
        429: Problem,
      },
      async handle({ body }) {
        const outcome = await beginFlow(needs, {
          userId: String(body.user_id),
          provider: body.provider,
          sessionBinding: body.session_binding,
          state: body.state,
          expiresInSeconds: body.expires_in,
          scopes: body.scopes,
        })
        if (outcome.kind === 'begun')
          return ok({ status: 'ok', state: outcome.state, authUrl: outcome.authUrl })
        const [status, message] = REFUSALS[outcome.reason]
        return problem(status, outcome.reason, message)
      },
    }),
    route({
      method: 'POST',
      path: '/internal/oauth/complete',
      access: 'service',
      summary: 'Complete a flow with its ticket; without a session the flow is burned',
      body: Type.Object(
        {
          ticket: Type.String({ maxLength: 1024 }),
          user_id: Type.Optional(UserId),
          session_binding: Type.Optional(Type.String({ maxLength: 1024 })),
        },
        { additionalProperties: false },
      ),
      responses: {
        200: Type.Object({ connection: Connection }),
        401: Problem,
        409: Problem,
        502: Type.Object({ error: Type.String(), message: Type.String(), reason: Type.String() }),
      },
      handle: ({ body }) =>
        complete(needs, {
          ticket: body.ticket,
          userId: body.user_id === undefined ? undefined : String(body.user_id),
          sessionBinding: body.session_binding,
        }),
    }),
  ]
}

async function complete(
  needs: OauthRouteNeeds,
  request: { ticket: string; userId?: string | undefined; sessionBinding?: string | undefined },
): Promise<Reply> {
  const outcome = await completeFlow(needs, request)
  switch (outcome.kind) {
    case 'connected': {
      const viewer = { userId: request.userId ?? '', role: 'user' } as const
      const connection = await viewConnection(needs, outcome.connectionId, viewer)
      return connection === undefined ? flowRefused() : ok({ connection })
    }
    case 'sign_in_required':
      return problem(401, 'sign_in_required', 'Sign in and connect again.')
    case 'refused':
      return flowRefused()
    case 'failed':
      return {
        status: 502,
        body: {
          error: 'exchange_failed',
          message: 'The provider did not complete the connection. Connect again.',
          reason: outcome.reason,
        },
      }
    default:
      return outcome satisfies never
  }
}

const flowRefused = () =>
  problem(409, 'flow_refused', 'This connection attempt is not valid any more. Connect again.')

const providerView = (provider: Provider) => ({
  id: provider.id,
  label: provider.label,
  scopes: provider.oauth.scopes.map(({ scope, sentence }) => ({
    scope,
    sentence,
    default: provider.oauth.defaultScopes.includes(scope),
  })),
})
