/** Doors to connecting: the providers in use, beginning a flow, completing it. They translate and never decide. */
import type { Provider } from '@flovify/providers'
import { Type } from 'typebox'
import { type ConsentLink, makeConsentLink } from '../connections/admin-consent.ts'
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
const Scopes = Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 64 }))
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
  unknown_connection: [
    404,
    'This user has no such connection at this provider. GET /internal/connections lists them.',
  ],
  too_many_flows: [429, 'Too many connections are being made at once. Finish one, or wait ten minutes.'],
}

const CONSENT_REFUSALS: Record<
  Extract<ConsentLink, { kind: 'refused' }>['reason'],
  readonly [status: number, message: string]
> = {
  unknown_provider: REFUSALS.unknown_provider,
  unknown_user: REFUSALS.unknown_user,
  unknown_scope: REFUSALS.unknown_scope,
  not_needed: [409, 'At this provider no administrator has to agree.'],
  too_many_links: [
    429,
    'Too many links wait for an administrator. Pass one of them on, or wait until they end.',
  ],
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
              /** Whether an administrator can agree for an organisation. */
              admin_consent: Type.Boolean(),
              scopes: Type.Array(
                Type.Object({
                  scope: Type.String(),
                  sentence: Type.String(),
                  default: Type.Boolean(),
                  restriction: Type.Union([Type.String(), Type.Null()]),
                }),
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
          scopes: Scopes,
          connection_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
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
          connectionId: body.connection_id,
        })
        if (outcome.kind === 'begun')
          return ok({ status: 'ok', state: outcome.state, authUrl: outcome.authUrl })
        const [status, message] = REFUSALS[outcome.reason]
        return problem(status, outcome.reason, message)
      },
    }),
    route({
      method: 'POST',
      path: '/internal/oauth/admin-consent',
      access: 'service',
      summary: 'A link that a person passes on to an administrator; works once, for seven days',
      body: Type.Object(
        { user_id: UserId, provider: Type.String({ minLength: 1, maxLength: 32 }), scopes: Scopes },
        { additionalProperties: false },
      ),
      responses: {
        200: Type.Object({ url: Type.String(), expires_at: Type.String() }),
        400: Problem,
        404: Problem,
        409: Problem,
        429: Problem,
      },
      async handle({ body }) {
        const link = await makeConsentLink(needs, {
          userId: String(body.user_id),
          provider: body.provider,
          scopes: body.scopes,
        })
        if (link.kind === 'made') return ok({ url: link.url, expires_at: link.expiresAt.toISOString() })
        const [status, message] = CONSENT_REFUSALS[link.reason]
        return problem(status, link.reason, message)
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
  admin_consent: provider.oauth.adminConsentUrl !== undefined,
  scopes: provider.oauth.scopes.map(({ scope, sentence, restriction }) => ({
    scope,
    sentence,
    restriction: restriction ?? null,
    default: provider.oauth.defaultScopes.includes(scope),
  })),
})
