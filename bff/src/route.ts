/**
 * What a route of the BFF is, and how it is put into the server. The CSRF guard and the session check are derived from
 * the declaration: a method that changes state cannot be declared without `changes: true`, and a server that got such a
 * route by another way does not start. Never handles a request itself.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static, TSchema } from 'typebox'
import { refuseForeignOrigin } from './csrf.ts'
import { refuse } from './failure.ts'
import { clearSessionCookie, readPlatformJwt, readSession, setSessionCookie } from './session-cookie.ts'

export type Access =
  /** Anybody; the handler may still look at the session. */
  | 'public'
  /** Needs the session cookie; whether the session lives is judged by Auth in every call. */
  | 'session'

type Effect =
  | { readonly method: 'GET'; readonly changes: false }
  | { readonly method: 'POST' | 'PATCH' | 'DELETE'; readonly changes: true }

export type Route = Effect & {
  readonly path: string
  readonly access: Access
  /** With `access: session`: the platform's own `session` cookie will do as well. */
  readonly orPlatform?: true
  readonly summary: string
  readonly params?: TSchema
  readonly query?: TSchema
  readonly body?: TSchema
  /** No body at all is the same as `{}`. */
  readonly bodyOptional?: true
  handle(input: Input): Promise<Reply>
}

export interface Input<P = unknown, Q = unknown, B = unknown> {
  readonly params: P
  readonly query: Q
  readonly body: B
  /** From our cookie; well-formed, not yet judged. */
  readonly session: string | undefined
  /** From the platform's cookie; well-formed, not yet judged. */
  readonly platformJwt: string | undefined
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  /** Sets our cookie, or clears it. */
  readonly cookie?: { readonly token: string; readonly expiresAt: string } | 'clear'
}

type Declaration<P extends TSchema, Q extends TSchema, B extends TSchema> = Effect & {
  readonly path: string
  readonly access: Access
  readonly orPlatform?: true
  readonly summary: string
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly bodyOptional?: true
  handle(input: Input<Static<P>, Static<Q>, Static<B>>): Promise<Reply>
}

/** Gives the handler the types of its schemas. */
export function route<P extends TSchema, Q extends TSchema, B extends TSchema>(
  declaration: Declaration<P, Q, B>,
): Route {
  // Sound because the server validates params, query and body against these schemas before it calls `handle`.
  return declaration as unknown as Route
}

/** Puts the table into the server. @throws when something else registered a method that changes state */
export function register(app: FastifyInstance, routes: readonly Route[], consoleBaseUrl: string): void {
  for (const one of routes) {
    app.route({
      method: one.method,
      url: one.path,
      config: { guarded: one.changes },
      schema: {
        ...(one.params && { params: one.params }),
        querystring: one.query ?? { type: 'object', additionalProperties: false },
        ...(one.body && { body: one.body }),
      },
      onRequest: async (request, reply) => {
        if (one.changes && refuseForeignOrigin(request, reply, consoleBaseUrl)) return reply
        if (one.access === 'session' && !hasSession(request, one)) return refuse(reply, 'sign_in_required')
      },
      preValidation: async (request) => {
        if (one.bodyOptional && request.body === undefined) request.body = {}
      },
      handler: (request, reply) => run(one, request, reply),
    })
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The CSRF guard runs before this route. */
    guarded?: boolean
  }
}

/** An `onRoute` hook: the server does not start with a route that changes state and is not of the table. */
export function refuseUnguarded(route: {
  method: string | string[]
  url: string
  config?: { guarded?: boolean } | undefined
}): void {
  const changing = [route.method].flat().filter((method) => method !== 'GET' && method !== 'HEAD')
  if (changing.length > 0 && route.config?.guarded !== true) {
    throw new Error(`${changing.join(', ')} ${route.url} would have no CSRF guard: declare it in routes.ts`)
  }
}

function hasSession(request: FastifyRequest, one: Route): boolean {
  if (readSession(request) !== undefined) return true
  return one.orPlatform === true && readPlatformJwt(request) !== undefined
}

async function run(one: Route, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (one.body === undefined && request.body !== undefined && request.body !== null) {
    return refuse(reply, 'invalid_request')
  }
  const answer = await one.handle({
    params: request.params,
    query: request.query,
    body: request.body,
    session: readSession(request),
    platformJwt: readPlatformJwt(request),
  })
  if (answer.cookie === 'clear') clearSessionCookie(reply)
  else if (answer.cookie !== undefined) setSessionCookie(reply, answer.cookie)
  return reply.code(answer.status).send(answer.body)
}
