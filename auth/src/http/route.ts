/**
 * What a route of the internal API is: one row of the table in `routes.ts`. Every route says who may call it; a route
 * without `access` does not compile. Doors translate between HTTP and rooms and never decide.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { Static, TSchema } from 'typebox'
import type { Permission } from '../callers/caller.ts'
import type { ConnectionScope } from '../db/connection-scope.ts'

export interface Caller {
  readonly userId: string
  readonly role: 'user' | 'admin'
  readonly familyId: string
  readonly email: string
}

/** The process that calls: the holder of SERVICE_SECRET, or a named caller. */
export interface Service {
  /** As in the audit trail: `service`, `caller:<name>`. */
  readonly actor: string
  /** What rooms limit their queries to. */
  readonly scope: ConnectionScope
}

/** A request as it came, of a route with `streams`. */
export interface Incoming {
  readonly method: string
  /** Path and query, byte for byte. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  /** Undefined when the request has none. */
  readonly body: Readable | undefined
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal
}

export interface RouteRequest<P = unknown, Q = unknown, B = unknown> {
  readonly params: P
  readonly query: Q
  readonly body: B
  /** Present on `user` and `admin` routes, unless a named caller calls, who acts for nobody. */
  readonly caller: Caller | undefined
  /** Absent on `public` routes. */
  readonly service: Service | undefined
  /** Present on routes with `streams`. */
  readonly incoming: Incoming | undefined
  /** The session token as given, on `user` and `admin` routes. */
  readonly sessionToken: string | undefined
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string | string[]>>
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  /** `public` only on the internal port: readiness, metrics, OpenAPI. */
  readonly access: 'service' | 'user' | 'admin' | 'public'
  /** What a named caller needs to call it; without it the route is for the holder of SERVICE_SECRET alone. */
  readonly permission?: Permission
  /** The body is passed on as it comes, of any type and size; the handler reads `incoming`. */
  readonly streams?: true
  readonly summary: string
  readonly params?: TSchema
  readonly query?: TSchema
  readonly body?: TSchema
  readonly responses: Readonly<Record<number, TSchema>>
  handle(request: RouteRequest): Promise<Reply>
}

type Typed<S extends TSchema | undefined> = S extends TSchema ? Static<S> : undefined

export interface RouteDefinition<
  P extends TSchema | undefined,
  Q extends TSchema | undefined,
  B extends TSchema | undefined,
> extends Omit<Route, 'params' | 'query' | 'body' | 'handle'> {
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  handle(request: RouteRequest<Typed<P>, Typed<Q>, Typed<B>>): Promise<Reply>
}

/** Defines a route whose handler knows the types of its schemas; the server validates before it is called. */
export function route<
  const P extends TSchema | undefined = undefined,
  const Q extends TSchema | undefined = undefined,
  const B extends TSchema | undefined = undefined,
>(definition: RouteDefinition<P, Q, B>): Route {
  return definition as unknown as Route
}

export const ok = (body: unknown): Reply => ({ status: 200, body })
export const created = (body: unknown): Reply => ({ status: 201, body })
export const noContent = (): Reply => ({ status: 204 })

/** @param message what to do about it; never repeats input */
export const problem = (status: number, error: string, message: string): Reply => ({
  status,
  body: { error, message },
})

/** The caller of a `user` or `admin` route. @throws when the table declared another access: a fault of ours */
export function callerOf(request: RouteRequest): Caller {
  if (request.caller === undefined)
    throw Object.assign(new Error('a route asked for a caller that its access does not grant'), {
      code: 'no_caller',
      safe: true,
    })
  return request.caller
}

/** The process that calls a route that is not public. @throws on a public one: a fault of ours */
export function serviceOf(request: RouteRequest): Service {
  if (request.service === undefined)
    throw Object.assign(new Error('a route asked for a service that its access does not grant'), {
      code: 'no_service',
      safe: true,
    })
  return request.service
}

/** For whom a list is read: the person of the session, or the named caller within its scope. */
export const readerOf = (request: RouteRequest): Caller | Pick<Service, 'scope'> =>
  request.caller ?? serviceOf(request)
