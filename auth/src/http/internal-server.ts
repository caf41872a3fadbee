/**
 * The internal API: Fastify, one registration for each row of the route table, validated by the route's own schemas,
 * described as OpenAPI. It proves the caller (service token, then session), answers errors in one shape, and never
 * decides anything else. It listens on its own port, which the proxy must never publish.
 */
import { isUtf8 } from 'node:buffer'
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
const OPENAPI = '/openapi.json'

export async function buildInternalServer(needs: InternalNeeds): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: 10_000,
    connectionTimeout: 30_000,
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 200 },
    exposeHeadRoutes: false,
    logger: false,
    // before any route is found: without this the framework would repeat the path in its answer
    frameworkErrors: (error, _request, reply) =>
      answerEarlyError(error.code, reply as unknown as FastifyReply),
  })
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Flovify Connect, internal API', version: needs.version } },
  })
  app.setValidatorCompiler(({ schema, httpPart }) => validator(schema as TSchema, httpPart === 'querystring'))
  app.setErrorHandler((error, request, reply) => answerError(needs, error, request, reply))
  app.setNotFoundHandler((request, reply) => answerUnknown(needs.routes, request, reply))
  // JSON in UTF-8 only; anything else is 415 by Fastify, and what is not UTF-8 is not silently repaired
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (!isUtf8(body as Buffer)) done(Object.assign(new Error('not UTF-8'), { statusCode: 400 }), undefined)
    else void parseJson(request, body.toString('utf8'), done)
  })

  // answered before the body was read: what is left of it would be taken in for nothing, without an end
  app.addHook('onSend', async (request, reply) => {
    if (hasBody(request) && !request.raw.complete) reply.header('connection', 'close')
  })

  const gate = openServiceGate(needs.serviceSecret)
  const callers = new WeakMap<FastifyRequest, Caller>()
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
      // who calls is proven before a byte of the body is read
      onRequest: async (request, reply) => {
        reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
        if (route.access !== 'public') {
          const verdict = gate.judge(request.headers['x-service-token'], request.ip)
          if (verdict !== 'admitted') {
            needs.metrics.serviceTokenFailures()
            return verdict === 'throttled'
              ? reply.code(429).header('retry-after', '60').send(TOO_MANY_FAILURES)
              : reply.code(401).send(SERVICE_TOKEN_REQUIRED)
          }
        }
        if (route.access === 'user' || route.access === 'admin') {
          const sessionToken = headerOf(request, 'x-session-token')
          const caller = sessionToken === undefined ? undefined : await needs.session(sessionToken)
          if (caller === undefined) return reply.code(401).send(SIGN_IN_REQUIRED)
          if (route.access === 'admin' && caller.role !== 'admin') return reply.code(403).send(ADMIN_REQUIRED)
          callers.set(request, caller)
        }
        const encoding = request.headers['content-encoding'] ?? 'identity'
        if (encoding !== 'identity') return reply.code(415).send(UNSUPPORTED)
      },
      handler: async (request, reply) => {
        const answer = await route.handle({
          params: request.params,
          query: request.query,
          body: request.body,
          caller: callers.get(request),
          sessionToken: headerOf(request, 'x-session-token'),
        })
        reply.code(answer.status)
        if (answer.headers !== undefined) reply.headers(answer.headers)
        return reply.send(answer.body)
      },
    })
  }
  app.get(OPENAPI, { schema: { hide: true } }, async () => app.swagger())
  await app.ready()
  return app
}

const SERVICE_TOKEN_REQUIRED = {
  error: 'service_token_required',
  message: 'Send the header X-Service-Token with the value of SERVICE_SECRET.',
}
const TOO_MANY_FAILURES = {
  error: 'too_many_failures',
  message: 'Too many requests without a valid service token. Try again in a minute.',
}
const SIGN_IN_REQUIRED = {
  error: 'sign_in_required',
  message: 'The session is unknown or has ended. Sign in again.',
}
const ADMIN_REQUIRED = { error: 'admin_required', message: 'Only an administrator may do this.' }
const INVALID = {
  error: 'invalid_request',
  message: 'A field is missing, unknown or of the wrong type. See /openapi.json.',
}
const UNREADABLE = { error: 'bad_request', message: 'The request could not be read. Send valid JSON.' }
const TOO_LARGE = { error: 'too_large', message: 'The body is larger than 256 KiB.' }
const UNSUPPORTED = {
  error: 'unsupported_media_type',
  message: 'Send application/json, in UTF-8 and not compressed.',
}
const NOT_FOUND = { error: 'not_found', message: 'There is nothing here. See /openapi.json.' }
const WRONG_METHOD = { error: 'method_not_allowed', message: 'This path has other methods.' }
const FAILED = {
  error: 'internal_error',
  message: 'Something failed on our side. The log has the details.',
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const values = request.raw.headersDistinct[name]
  return values?.length === 1 ? values[0] : undefined
}

/**
 * Query values arrive as text and are converted, exactly (1.5 is no 1); bodies and parameters must have the right type
 * as they are.
 */
function validator(schema: TSchema, convert: boolean) {
  const compiled = Compile(schema)
  return (data: unknown) => {
    // a copy: Convert changes what it is given, and the text is compared with what came of it
    const value = convert ? Convert(schema, { ...(data as object) }) : data
    return compiled.Check(value) && (!convert || isExact(data, value))
      ? { value }
      : { error: Object.assign(new Error('invalid request'), { code: 'invalid_request' }) }
  }
}

function isExact(given: unknown, converted: unknown): boolean {
  const texts = Object.entries(given ?? {})
  const values = new Map<string, unknown>(Object.entries(converted ?? {}))
  return texts.every(([name, text]) => String(values.get(name)) === text)
}

function answerError(needs: InternalNeeds, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const known = error instanceof Error ? error : undefined
  if (known !== undefined && 'code' in known && known.code === 'invalid_request')
    // an id that cannot be one is an unknown id
    return 'validationContext' in known && known.validationContext === 'params'
      ? reply.code(404).send(NOT_FOUND)
      : reply.code(400).send(INVALID)
  const status =
    known !== undefined && 'statusCode' in known && typeof known.statusCode === 'number'
      ? known.statusCode
      : 500
  if (status === 413) return reply.code(413).send(TOO_LARGE)
  if (status === 415) return reply.code(415).send(UNSUPPORTED)
  if (status >= 400 && status < 500) return reply.code(status).send(UNREADABLE)
  needs.log.error(
    { route: request.routeOptions.url, method: request.method, ...errorFields(error) },
    'an internal request failed',
  )
  return reply.code(500).send(FAILED)
}

function answerEarlyError(code: string, reply: FastifyReply) {
  if (code === 'FST_ERR_MAX_PARAM_LENGTH') reply.code(404).send(NOT_FOUND)
  else reply.code(400).send(UNREADABLE)
}

function answerUnknown(routes: readonly Route[], request: FastifyRequest, reply: FastifyReply) {
  const path = request.url.split('?')[0] ?? ''
  const allowed = routes.filter((route) => fits(route.path, path)).map((route) => route.method)
  if (path === OPENAPI) allowed.push('GET')
  return allowed.length > 0 && !allowed.includes(request.method as Route['method'])
    ? reply.code(405).header('allow', allowed.join(', ')).send(WRONG_METHOD)
    : reply.code(404).send(NOT_FOUND)
}

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  return (
    wanted.length === given.length && wanted.every((part, i) => part.startsWith(':') || part === given[i])
  )
}
