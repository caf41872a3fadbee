/**
 * The table to read first: every address of the BFF with who may call it and whether it changes state. From it the
 * server derives the session check and the CSRF guard (route.ts) and the tests their matrix (BC-01). What a route does
 * stands in sessions.ts, connecting.ts, views.ts and delivery-views.ts; what a person may see is decided by Auth, never here.
 */
import { Type } from 'typebox'
import { beginConnection, finishConnection, linkForAdmin } from './connecting.ts'
import { deliveryRoutes } from './delivery-routes.ts'
import type { Deps } from './deps.ts'
import { destinationRoutes } from './destination-routes.ts'
import { type Route, route } from './route.ts'
import { endSession, showSession, startSession } from './sessions.ts'
import { closed, Id } from './shapes.ts'
import { subscriptionRoutes } from './subscription-routes.ts'
import * as views from './views.ts'

/** Tokens of 256 bits in base64url; a little room so that Auth, not the form, judges them. */
const Token = Type.String({ pattern: '^[A-Za-z0-9_-]{20,128}$' })
const Scope = Type.String({ minLength: 1, maxLength: 256 })
const Provider = Type.Object({ provider: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' }) }, closed)
const EventList = Type.Object(
  {
    cursor: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_.~=-]{1,512}$' })),
    after: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_.~=-]{1,512}$' })),
    limit: Type.Optional(Type.String({ pattern: '^([1-9]|[1-9][0-9]|100)$' })),
  },
  closed,
)
const SignIn = Type.Union([
  Type.Object({ token: Token }, closed),
  /** With the platform's own `session` cookie. */
  Type.Object({ platform: Type.Literal(true) }, closed),
])
const Scopes = Type.Optional(Type.Array(Scope, { maxItems: 50 }))
const Connect = Type.Object(
  { scopes: Scopes, connection_id: Type.Optional(Type.String({ pattern: '^[a-z]{3}_[A-Za-z0-9]{1,64}$' })) },
  closed,
)
const Consent = Type.Object({ scopes: Scopes }, closed)
const Finish = Type.Object({ ticket: Token }, closed)

export function routes(deps: Deps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/healthz',
      access: 'public',
      changes: false,
      summary: 'This process lives.',
      handle: async () => ({ status: 200, body: { status: 'ok', service: 'bff' } }),
    }),
    route({
      method: 'POST',
      path: '/bff/session',
      access: 'public',
      changes: true,
      summary: 'Sign in; never replaces a running session.',
      body: SignIn,
      handle: (input) => startSession(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/session',
      access: 'public',
      changes: false,
      summary: 'Who is signed in.',
      handle: (input) => showSession(deps, input),
    }),
    route({
      method: 'DELETE',
      path: '/bff/session',
      access: 'public',
      changes: true,
      summary: 'Sign out; also clears the cookie of a session that has ended.',
      handle: (input) => endSession(deps, input),
    }),
    route({
      method: 'POST',
      path: '/bff/auth/connect/:provider',
      access: 'session',
      orPlatform: true,
      changes: true,
      summary: 'Begin to connect an account: the address of the provider to go to.',
      params: Provider,
      body: Connect,
      bodyOptional: true,
      handle: (input) => beginConnection(deps, input),
    }),
    route({
      method: 'POST',
      path: '/bff/auth/admin-consent/:provider',
      access: 'session',
      changes: true,
      summary: 'A link to pass on to an administrator, where only an administrator can agree.',
      params: Provider,
      body: Consent,
      bodyOptional: true,
      handle: (input) => linkForAdmin(deps, input),
    }),
    route({
      method: 'POST',
      path: '/bff/auth/finish',
      // Public, because a ticket without a session must reach Auth too: there it burns the flow.
      access: 'public',
      changes: true,
      summary: 'Complete a connection with the ticket from the success page.',
      body: Finish,
      handle: (input) => finishConnection(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/providers',
      access: 'session',
      changes: false,
      summary: 'What can be connected.',
      handle: (input) => views.providers(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/connections',
      access: 'session',
      changes: false,
      summary: 'Own connections; an admin sees all.',
      handle: (input) => views.connections(deps, input),
    }),
    route({
      method: 'DELETE',
      path: '/bff/connections/:id',
      access: 'session',
      changes: true,
      summary: 'Disconnect an account here.',
      params: Id,
      handle: (input) => views.disconnect(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/events',
      access: 'session',
      changes: false,
      summary: 'Events, newest first.',
      query: EventList,
      handle: (input) => views.events(deps, input),
    }),
    route({
      method: 'GET',
      path: '/bff/events/:id',
      access: 'session',
      changes: false,
      summary: 'One event with its deliveries, attempts and payload.',
      params: Id,
      handle: (input) => views.event(deps, input),
    }),
    ...subscriptionRoutes(deps),
    ...deliveryRoutes(deps),
    ...destinationRoutes(deps),
  ]
}
