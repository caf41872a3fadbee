/**
 * READ THIS FIRST: every route of the internal API, and who may call it. The public listener has three paths and no
 * table to grow:
 *
 *   GET       /webhook/health                        liveness, also without the database
 *   GET|POST  /webhook/oauth/{provider}/callback     parks the code (connections/callback.ts)
 *   GET|POST  /webhook/events/{provider}[/{ref}]     judges, stores, acknowledges (ingest/receive.ts)
 *
 * Everything else answers 404 there (http/public-server.ts).
 *
 * A named caller may call the routes that say `permission`, and no other (http/admission.ts).
 */

import { type ConnectionRouteNeeds, connectionRoutes } from './connection-routes.ts'
import { type DeadLetterDoors, deadLetterRoutes } from './dead-letter-routes.ts'
import { type DeliveryDoors, deliveryRoutes } from './delivery-routes.ts'
import { type DestinationDoors, destinationRoutes } from './destination-routes.ts'
import { type EventDoors, eventRoutes } from './event-routes.ts'
import { type OauthRouteNeeds, oauthRoutes } from './oauth-routes.ts'
import { type OperatingNeeds, operatingRoutes } from './operating-routes.ts'
import { type ProxyDoors, proxyRoutes } from './proxy-routes.ts'
import { type RejectionDoors, rejectionRoutes } from './rejection-routes.ts'
import type { Route } from './route.ts'
import { type RuleDoors, ruleRoutes } from './rule-routes.ts'
import { type SessionRouteNeeds, sessionRoutes } from './session-routes.ts'
import { type SubscriptionDoors, subscriptionRoutes } from './subscription-routes.ts'
import { type TokenDoors, tokenRoutes } from './token-routes.ts'
import { userRoutes } from './user-routes.ts'

export type RouteNeeds = ConnectionRouteNeeds &
  DeadLetterDoors &
  DeliveryDoors &
  DestinationDoors &
  EventDoors &
  OauthRouteNeeds &
  OperatingNeeds &
  ProxyDoors &
  RejectionDoors &
  RuleDoors &
  SessionRouteNeeds &
  SubscriptionDoors &
  TokenDoors

/** In the order of a connection's life. A process that only works (AUTH_ROLE=work) serves the first line alone. */
export function routeTable(needs: RouteNeeds, role: 'all' | 'door' | 'work'): readonly Route[] {
  if (role === 'work') return operatingRoutes(needs)
  return [
    ...operatingRoutes(needs), //    public   GET /ready, /metrics (and /openapi.json)
    ...sessionRoutes(needs), //      service  POST /internal/sessions (local mode: /internal/signin-links) · user  …/sessions/current
    ...oauthRoutes(needs), //        service  GET /internal/providers, POST /internal/oauth/create-state, …/complete
    ...connectionRoutes(needs), //   user     GET /internal/connections, DELETE …/:id
    ...subscriptionRoutes(needs), // user     PATCH /internal/subscriptions/:id, POST …/:id/renew
    ...tokenRoutes(needs), //        service  POST /internal/connections/:id/token · GET /internal/oauth/token
    ...proxyRoutes(needs), //        service  GET|POST|PUT|PATCH|DELETE /internal/connections/:id/proxy/*
    ...eventRoutes(needs), //        user     GET /internal/events, …/:id
    ...rejectionRoutes(needs), //    admin    GET /internal/rejections
    ...deliveryRoutes(needs), //     admin    GET /internal/deliveries, POST …/:id/retry · user  GET …/:id
    ...deadLetterRoutes(needs), //   admin    GET /internal/destinations/:id/health, …/retry-dead, POST …/retry-dead
    ...destinationRoutes(needs), //  admin    /internal/destinations · service (local mode) PUT /internal/local/destination
    ...ruleRoutes(needs), //         admin    /internal/rules
    ...userRoutes(needs), //         service  DELETE /internal/users/:id
  ]
}

/** Endpoints of the health page. @param providerIds of the providers that are on */
export function publicEndpoints(providerIds: readonly string[]): string[] {
  return [
    ...providerIds.map((id) => `/webhook/oauth/${id}/callback`),
    ...providerIds.map((id) => `/webhook/events/${id}`),
  ]
}
