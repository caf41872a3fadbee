/**
 * The internal API: Fastify, one registration for each row of the route table, validated by the route's own schemas,
 * described as OpenAPI. It proves the caller (service token, then session), answers errors in one shape, and never
 * decides anything else. It listens on its own port, which the proxy must never publish.
 */
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Convert } from 'typebox/value'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Caller, Route } from './route.ts'
import { openServiceGate } from './service-gate.ts'

export interface InternalNeeds {
  readonly routes: readonly Route[]
  readonly serviceSecret: string
  readonly version: string
  /** Finds who a session token belongs to. */
  readonly session: (token: string) => Promise<Caller | undefined>
  readonly metrics: Metrics
  readonly log: Log
}

const BODY_LIMIT_BYTES = 256 * 1024

export async function buildInternalServer(needs: InternalNeeds): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: 10_000,
    connectionTimeout: 30_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 200 },
    exposeHeadRoutes: false,
    logger: false,
  })
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Flovify Connect, internal API', version: needs.version } },
  })
  app.setValidatorCompiler(({ schema, httpPart }) => validator(schema as TSchema, httpPart === 'querystring'))
  app.setErrorHandler((error, request, reply) => answerError(needs, error, request, reply))
  app.setNotFoundHandler((request, reply) => answerUnknown(needs.routes, request, reply))
  // JSON only; anything else is 415 by Fastify
  app.removeContentTypeParser('text/plain')

  const gate = openServiceGate(needs.serviceSecret)
  for (const route of needs.routes) {
    app.route({
      method: route.method,
      url: route.path,
      schema: {
        summary: route.summary,
        tags: [route.access],
        ...(route.params === undefined ? {} : { params: route.params }),
        ...(route.query === undefined ? {} : { querystring: route.query }),
        ...(route.body === undefined ? {} : { body: route.body }),
        response: route.responses,
      },
      onRequest: async (request, reply) => {
        reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
        if (route.access === 'public') return
        const verdict = gate.judge(request.headers['x-service-token'], request.ip)
        if (verdict === 'admitted') return
        needs.metrics.serviceTokenFailures()
        if (verdict === 'throttled')
          return reply
            .code(429)
            .header('retry-after', '60')
            .send({
              error: 'too_many_failures',
              message: 'Too many requests without a valid service token. Try again in a minute.',
            })
        return reply
          .code(401)
          .send({
            error: 'service_token_required',
            message: 'Send the header X-Service-Token with the value of SERVICE_SECRET.',
          })
      },
      handler: async (request, reply) => handle(needs, route, request, reply),
    })
  }
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  await app.ready()
  return app
}

async function handle(
  needs: InternalNeeds,
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const sessionToken = headerOf(request, 'x-session-token')
  let caller: Caller | undefined
  if (route.access === 'user' || route.access === 'admin') {
    caller = sessionToken === undefined ? undefined : await needs.session(sessionToken)
    if (caller === undefined)
      return reply
        .code(401)
        .send({ error: 'sign_in_required', message: 'The session is unknown or has ended. Sign in again.' })
    if (route.access === 'admin' && caller.role !== 'admin')
      return reply.code(403).send({ error: 'admin_required', message: 'Only an administrator may do this.' })
  }
  const answer = await route.handle({
    params: request.params,
    query: request.query,
    body: request.body,
    caller,
    sessionToken,
  })
  reply.code(answer.status)
  if (answer.headers !== undefined) reply.headers(answer.headers)
  return reply.send(answer.body)
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const values = request.raw.headersDistinct[name]
  return values?.length === 1 ? values[0] : undefined
}

/** Query values arrive as text and are converted; bodies and parameters must have the right type as they are. */
function validator(schema: TSchema, convert: boolean) {
  const compiled = Compile(schema)
  return (data: unknown) => {
    const value = convert ? Convert(schema, data) : data
    return compiled.Check(value)
      ? { value }
      : { error: Object.assign(new Error('invalid request'), { code: 'invalid_request' }) }
  }
}

function answerError(needs: InternalNeeds, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const status =
    error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
      ? error.statusCode
      : 500
  if (error instanceof Error && 'validation' in error)
    return reply
      .code(400)
      .send({
        error: 'invalid_request',
        message: 'A field is missing, unknown or of the wrong type. See /openapi.json.',
      })
  if (error instanceof Error && 'code' in error && error.code === 'invalid_request')
    return reply
      .code(400)
      .send({
        error: 'invalid_request',
        message: 'A field is missing, unknown or of the wrong type. See /openapi.json.',
      })
  if (status === 413)
    return reply.code(413).send({ error: 'too_large', message: 'The body is larger than 256 KiB.' })
  if (status === 415)
    return reply.code(415).send({ error: 'unsupported_media_type', message: 'Send application/json.' })
  if (status >= 400 && status < 500)
    return reply
      .code(status)
      .send({ error: 'bad_request', message: 'The request could not be read. Send valid JSON.' })
  needs.log.error(
    { route: request.routeOptions.url, method: request.method, ...errorFields(error) },
    'an internal request failed',
  )
  return reply
    .code(500)
    .send({ error: 'internal_error', message: 'Something failed on our side. The log has the details.' })
}

function answerUnknown(routes: readonly Route[], request: FastifyRequest, reply: FastifyReply) {
  const path = request.url.split('?')[0] ?? ''
  const allowed = routes.filter((route) => fits(route.path, path)).map((route) => route.method)
  if (allowed.length > 0)
    return reply
      .code(405)
      .header('allow', allowed.join(', '))
      .send({ error: 'method_not_allowed', message: 'This path has other methods.' })
  return reply.code(404).send({ error: 'not_found', message: 'There is nothing here. See /openapi.json.' })
}

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  return (
    wanted.length === given.length && wanted.every((part, i) => part.startsWith(':') || part === given[i])
  )
}
