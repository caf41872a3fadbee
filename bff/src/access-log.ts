/**
 * One line for each request: method, route pattern, status, milliseconds. Never a URL, a header, a body or an address:
 * what is not written cannot leak.
 */
import type { FastifyInstance, FastifyServerOptions } from 'fastify'

/** Logger options for Fastify: JSON lines with ISO time and the level's name. */
export function logOptions(stream?: { write(line: string): void }): FastifyServerOptions['logger'] {
  return {
    level: 'info',
    base: { service: 'bff' },
    messageKey: 'message',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    ...(stream && { stream }),
  }
}

export function logRequests(app: FastifyInstance): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? 'none' : (request.routeOptions.url ?? 'none')
    const ms = Math.round(reply.elapsedTime * 10) / 10
    request.log.info({ method: request.method, route, status: reply.statusCode, ms }, 'request')
  })
}
