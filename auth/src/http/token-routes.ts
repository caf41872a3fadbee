/** Doors to access tokens, for services. They translate and never decide; no answer of theirs has a refresh token. */
import { Type } from 'typebox'
import type { TokenRead, TokenReader } from '../connections/token-read.ts'
import { ok, problem, type Reply, type Route, route, serviceOf } from './route.ts'

export interface TokenDoors {
  readonly tokens: Pick<TokenReader, 'readFor' | 'connectionsOf'>
}

const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const Conflict = Type.Object({
  error: Type.String(),
  message: Type.String(),
  reason: Type.Optional(Type.String()),
  connection_ids: Type.Optional(Type.Array(Type.String())),
})
/** `TokenView` of the wire. */
const Token = Type.Object({
  access_token: Type.String(),
  expires_at: Type.String(),
  scopes: Type.Array(Type.String()),
})
const RESPONSES = { 200: Token, 404: Problem, 409: Conflict, 503: Problem }
const MinValid = Type.Optional(Type.Integer({ minimum: 0, maximum: 3000 }))
const MIN_VALID_SECONDS = 60
/** What the token is for, in the caller's words; kept in the audit trail. */
export const Purpose = Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}$' }))

export function tokenRoutes({ tokens }: TokenDoors): Route[] {
  return [
    route({
      method: 'POST',
      path: '/internal/connections/:id/token',
      access: 'service',
      permission: 'tokens:read',
      summary: 'An access token that is valid for the asked time; refreshed when it is not',
      params: Type.Object(
        { id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) },
        { additionalProperties: false },
      ),
      body: Type.Union([
        Type.Object({ min_valid_seconds: MinValid, purpose: Purpose }, { additionalProperties: false }),
        Type.Null(),
      ]),
      responses: RESPONSES,
      handle: async (request) =>
        answer(
          await tokens.readFor(
            { ...serviceOf(request), purpose: request.body?.purpose },
            request.params.id,
            request.body?.min_valid_seconds ?? MIN_VALID_SECONDS,
          ),
        ),
    }),
    route({
      method: 'GET',
      path: '/internal/oauth/token',
      access: 'service',
      permission: 'tokens:read',
      summary: 'The same for a user’s only connection at a provider; several are never guessed between',
      query: Type.Object(
        {
          user_id: Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' }),
          provider: Type.String({ pattern: '^[a-z0-9-]{1,32}$' }),
          min_valid_seconds: MinValid,
          purpose: Purpose,
        },
        { additionalProperties: false },
      ),
      responses: RESPONSES,
      async handle(request) {
        const { query } = request
        const service = serviceOf(request)
        const [only, ...more] = await tokens.connectionsOf(service.scope, query.user_id, query.provider)
        if (only === undefined) return answer({ kind: 'unknown' })
        if (more.length > 0)
          return {
            status: 409,
            body: {
              error: 'several_connections',
              message:
                'The user has several connections at this provider. Ask for one of them by its id: POST /internal/connections/{id}/token.',
              connection_ids: [only, ...more],
            },
          }
        return answer(
          await tokens.readFor(
            { ...service, purpose: query.purpose },
            only,
            query.min_valid_seconds ?? MIN_VALID_SECONDS,
          ),
        )
      },
    }),
  ]
}

/** Also what the proxy answers when it gets no token. */
export function answer(read: TokenRead): Reply {
  switch (read.kind) {
    case 'token':
      return ok({
        access_token: read.accessToken.reveal(),
        expires_at: read.expiresAt.toISOString(),
        scopes: [...read.scopes],
      })
    case 'unknown':
      return problem(404, 'not_found', 'There is no such connection.')
    case 'unusable':
      return {
        status: 409,
        body: {
          error: read.status,
          message: MESSAGES[read.status] ?? 'This connection gives no token in its present state.',
          ...(read.reason === null ? {} : { reason: read.reason }),
        },
      }
    case 'unavailable':
      return {
        ...problem(
          503,
          'provider_unavailable',
          'No valid token is left and the provider gives none now. Try again later.',
        ),
        headers: { 'retry-after': String(read.retryAfterSeconds) },
      }
    default:
      return read satisfies never
  }
}

const MESSAGES: Readonly<Record<string, string>> = {
  reauth_required: 'The user has to connect this account again.',
  admin_required: 'An administrator of the account’s organisation has to allow this connection again.',
  vault_error:
    'The stored secrets of this connection cannot be opened. The user has to connect the account again.',
  revoked: 'This connection was disconnected.',
  revoking: 'This connection was disconnected.',
}
