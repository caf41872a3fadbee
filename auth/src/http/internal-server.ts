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
import { isDatabaseAway } from '../db/away.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { type AdmissionNeeds, admit, onlyHeader } from './admission.ts'
import {
  DATABASE_AWAY,
  FAILED,
  INVALID,
  NOT_FOUND,
  TOO_LARGE,
  UNREADABLE,
  UNSUPPORTED,
  WRONG_METHOD,
} from './answers.ts'
import type { Caller, Incoming, Route, Service } from './route.ts'

export interface InternalNeeds {
  readonly routes: readonly Route[]
  readonly version: string
  readonly admission: AdmissionNeeds
  readonly log: Log
}

const BODY_LIMIT_BYTES = 256 * 1024
/** Of a whole body, unless an admitted route streams it on. */
const BODY_MS = 10_000
const OPENAPI = '/openapi.json'

export async function buildInternalServer(needs: InternalNeeds): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    // of bodies that are streamed on; all others have BODY_MS
    requestTimeout: 130_000,
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

  const slow = new WeakMap<FastifyRequest, NodeJS.Timeout>()
  app.addHook('onRequest', async (request) => {
    if (!hasBody(request)) return
    const { raw } = request
    const timer = setTimeout(() => raw.complete || raw.socket.destroy(), BODY_MS)
    slow.set(request, timer)
    raw.once('close', () => clearTimeout(timer))
  })
  const kept = needs.routes.filter(({ streams }) => streams !== true)
  for (const route of kept) register(app, needs, route, () => undefined)
  await app.register(async (streaming) => {
    // the handler reads the body as it comes
    streaming.removeAllContentTypeParsers()
    streaming.addContentTypeParser('*', (_request, _body, done) => done(null))
    for (const route of needs.routes)
      if (route.streams === true)
        register(streaming, needs, route, (request, reply) => {
          clearTimeout(slow.get(request))
          return incomingOf(request, reply)
        })
  })
  app.get(OPENAPI, { schema: { hide: true } }, async () => app.swagger())
  await app.ready()
  return app
}

/** @param incoming what the handler gets of a streamed request */
function register(
  app: FastifyInstance,
  needs: InternalNeeds,
  route: Route,
  incoming: (request: FastifyRequest, reply: FastifyReply) => Incoming | undefined,
): void {
  const admitted = new WeakMap<FastifyRequest, { caller: Caller | undefined; service: Service | undefined }>()
  app.route({
    method: route.method,
    url: route.path,
    schema: {
      summary: route.summary,
      tags: [route.access],
      ...(route.permission === undefined ? {} : { 'x-permission': route.permission }),
      ...(route.params === undefined ? {} : { params: route.params }),
      ...(route.query === undefined ? {} : { querystring: route.query }),
      ...(route.body === undefined ? {} : { body: route.body }),
      response: route.responses,
    },
    // who calls is proven before a byte of the body is read
    onRequest: async (request, reply) => {
      reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
      const admission = await admit(needs.admission, route, request)
      if (admission.kind === 'refused')
        return reply
          .code(admission.status)
          .headers(admission.headers ?? {})
          .send(admission.body)
      admitted.set(request, admission)
      const encoding = request.headers['content-encoding'] ?? 'identity'
      if (encoding !== 'identity' && route.streams !== true) return reply.code(415).send(UNSUPPORTED)
    },
    handler: async (request, reply) => {
      const answer = await route.handle({
        params: request.params,
        query: request.query,
        body: request.body,
        caller: admitted.get(request)?.caller,
        service: admitted.get(request)?.service,
        incoming: incoming(request, reply),
        sessionToken: onlyHeader(request, 'x-session-token'),
      })
      reply.code(answer.status)
      if (answer.headers !== undefined) reply.headers(answer.headers)
      return reply.send(answer.body)
    },
  })
}

function incomingOf(request: FastifyRequest, reply: FastifyReply): Incoming {
  const gone = new AbortController()
  reply.raw.once('close', () => reply.raw.writableFinished || gone.abort())
  return {
    method: request.method,
    target: request.raw.url ?? '',
    headers: request.headers,
    body: hasBody(request) ? request.raw : undefined,
    signal: gone.signal,
  }
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
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
  if (isDatabaseAway(error)) {
    needs.log.warn(
      { route: request.routeOptions.url, method: request.method, ...errorFields(error) },
      'the database does not answer an internal request',
    )
    return reply.code(503).header('retry-after', '5').send(DATABASE_AWAY)
  }
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
  if (wanted.at(-1) === '*')
    return fits(wanted.slice(0, -1).join('/'), given.slice(0, wanted.length - 1).join('/'))
  return (
    wanted.length === given.length && wanted.every((part, i) => part.startsWith(':') || part === given[i])
  )
}
