/** Doors to sessions: sign-in links, beginning, reading and ending a session. They translate and never decide. */
import { Type } from 'typebox'
import {
  beginSessionByLink,
  beginSessionByPlatformJwt,
  currentSession,
  endSession,
  makeSigninLink,
  type SessionNeeds,
} from '../connections/sessions.ts'
import { created, noContent, ok, problem, type Route, route } from './route.ts'

const Role = Type.Union([Type.Literal('user'), Type.Literal('admin')])
const Problem = Type.Object({ error: Type.String(), message: Type.String() })

const Session = Type.Object({
  user_id: Type.String(),
  email: Type.String(),
  name: Type.Union([Type.String(), Type.Null()]),
  role: Role,
  family_id: Type.String(),
  expires_at: Type.String(),
})

const ended = () => problem(401, 'sign_in_required', 'The session is unknown or has ended. Sign in again.')

export interface SessionRouteNeeds extends SessionNeeds {
  /** AUTH_MODE=local: the API makes one-time links. In production the service token alone must not begin a session. */
  readonly local: boolean
}

export function sessionRoutes(needs: SessionRouteNeeds): Route[] {
  return [
    ...(needs.local ? [signinLinkRoute(needs)] : []),
    route({
      method: 'POST',
      path: '/internal/sessions',
      access: 'service',
      summary: 'Begin a session by a one-time link or by the platform’s JWT',
      body: Type.Union([
        Type.Object(
          { signin_token: Type.String({ minLength: 1, maxLength: 128 }) },
          { additionalProperties: false },
        ),
        Type.Object(
          { platform_jwt: Type.String({ minLength: 1, maxLength: 8192 }) },
          { additionalProperties: false },
        ),
      ]),
      responses: {
        201: Type.Object({ session_token: Type.String(), session: Session }),
        401: Problem,
        503: Problem,
      },
      async handle({ body }) {
        const outcome =
          'signin_token' in body
            ? await beginSessionByLink(needs, body.signin_token)
            : await beginSessionByPlatformJwt(needs, body.platform_jwt)
        if (outcome.kind === 'begun')
          return created({ session_token: outcome.token, session: outcome.session })
        if (outcome.kind === 'unavailable')
          return problem(
            503,
            'keys_unavailable',
            'The platform’s signing keys cannot be read now. Try again.',
          )
        return problem(
          401,
          'sign_in_refused',
          'This sign-in is not valid or was used before. Ask for a new one.',
        )
      },
    }),
    route({
      method: 'GET',
      path: '/internal/sessions/current',
      access: 'user',
      summary: 'Who is signed in',
      responses: { 200: Session, 401: Problem },
      async handle({ sessionToken }) {
        const session = sessionToken === undefined ? undefined : await currentSession(needs, sessionToken)
        return session === undefined ? ended() : ok(session)
      },
    }),
    route({
      method: 'DELETE',
      path: '/internal/sessions/current',
      access: 'user',
      summary: 'Sign out: the whole session family ends',
      responses: { 204: Type.Null(), 401: Problem },
      async handle({ sessionToken }) {
        if (sessionToken === undefined) return ended()
        await endSession(needs, sessionToken)
        return noContent()
      },
    }),
  ]
}

function signinLinkRoute(needs: SessionNeeds): Route {
  return route({
    method: 'POST',
    path: '/internal/signin-links',
    access: 'service',
    summary: 'Make a one-time sign-in link for an address; the user is made when unknown',
    body: Type.Object(
      {
        // one address and nothing else; the platform's own rules for addresses are not repeated here
        email: Type.String({
          minLength: 3,
          maxLength: 254,
          pattern: '^[^\\s@\\u0000-\\u001f]+@[^\\s@\\u0000-\\u001f]+$',
        }),
        role: Role,
      },
      { additionalProperties: false },
    ),
    responses: { 201: Type.Object({ token: Type.String(), expires_at: Type.String() }), 422: Problem },
    async handle({ body }) {
      const link = await makeSigninLink(needs, { ...body, actor: 'service' })
      return link.kind === 'made'
        ? created({ token: link.token, expires_at: link.expiresAt.toISOString() })
        : problem(
            422,
            'unknown_user',
            'The user table of the platform has no such user: create the user there first.',
          )
    },
  })
}
