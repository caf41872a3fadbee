/**
 * The console's only door, built but not listening: the table of routes, the console's files, the headers of every
 * answer, and answers for everything that is not in the table. No database, no proxying: an address that is not listed
 * does not exist.
 */
import type { Socket } from 'node:net'
import { connectClient } from '@flovify/client'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import { logOptions, logRequests } from './access-log.ts'
import type { BffConfig } from './config.ts'
import { serveConsole } from './console-files.ts'
import { answerError, refuse } from './failure.ts'
import { refuseUnguarded, register } from './route.ts'
import { routes } from './routes.ts'
import { addSecurityHeaders, SECURITY_HEADERS } from './security-headers.ts'

export type { BffConfig } from './config.ts'

const BODY_LIMIT_BYTES = 64 * 1024
const HEADER_LIMIT_BYTES = 16 * 1024
/** Longer than any proxy in front keeps an idle connection, so that it never sends into a closed one. */
const KEEP_ALIVE_MS = 75_000
const REQUEST_MS = 15_000

/** @throws `console_not_built` */
export function buildApp(config: BffConfig): FastifyInstance {
  const app = fastify({
    logger: logOptions(config.logStream) ?? false,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { maxHeaderSize: HEADER_LIMIT_BYTES },
    // Client-supplied X-Forwarded-* mean nothing to us (IA-04).
    trustProxy: false,
    // While draining, what still arrives is served and told `connection: close`.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    frameworkErrors: (error, request, reply) => {
      // A malformed path never reaches the hooks.
      addSecurityHeaders(reply as FastifyReply, config.mode)
      answerError(error, request as FastifyRequest, reply as FastifyReply)
    },
    clientErrorHandler: answerMalformed,
  })
  app.removeContentTypeParser('text/plain')
  app.addHook('onRequest', async (_request, reply) => addSecurityHeaders(reply, config.mode))
  app.addHook('onRoute', refuseUnguarded)
  logRequests(app)

  const known = rememberPaths(app)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((request, reply) => {
    const methods = known.methodsOf(request.url)
    if (methods.length === 0) return refuse(reply, 'not_found')
    return refuse(reply.header('allow', methods.join(', ')), 'method_not_allowed')
  })

  const auth = connectClient({ baseUrl: config.authInternalUrl, serviceToken: config.serviceSecret })
  register(app, routes({ auth, serviceSecret: config.serviceSecret }), config.consoleBaseUrl)
  serveConsole(app, config.consoleFolder)
  return app
}

/** Which methods a path has, for 405; collected from what is really registered. */
function rememberPaths(app: FastifyInstance): { methodsOf(url: string): string[] } {
  const paths: { form: RegExp; methods: string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const form = url
      .split('/')
      .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[^\w-]/g, '\\$&')))
      .join('/')
    paths.push({ form: new RegExp(`^${form}$`), methods: [method].flat() })
  })
  return {
    methodsOf(url) {
      const path = url.split('?', 1)[0] ?? ''
      const found = paths.filter(({ form }) => form.test(path)).flatMap(({ methods }) => methods)
      return [...new Set(found)].sort()
    },
  }
}

/** What is not HTTP, or has too large a header, is answered before there is a request or a reply. */
function answerMalformed(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request'
  const body = '{"error":"invalid_request","message":"The request is not one that this address accepts."}'
  const headers = Object.entries({
    ...SECURITY_HEADERS,
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(body.length),
    connection: 'close',
  })
  socket.end(
    `HTTP/1.1 ${status}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
}
