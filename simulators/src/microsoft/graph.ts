/**
 * Graph's doorstep, shared by its routes: who calls, and the error envelope (protocols/microsoft.md §4.5).
 * It reads the bearer token and tells nothing about it.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { takeAnswer } from '../faults.ts'
import { noteApiRequest } from '../journal.ts'
import { bearerOf, describeRequest } from '../server.ts'
import type { HeldToken } from '../tokens.ts'
import type { MicrosoftWorld } from './world.ts'

/** The live access token of a request, or `null` after the refusal (or the `apiError` switch's answer) has been sent. */
export function callerOf(
  world: MicrosoftWorld,
  request: FastifyRequest,
  reply: FastifyReply,
): HeldToken | null {
  noteApiRequest(world.journal, describeRequest(request, world.now()))
  const fixed = takeAnswer(world.faults, 'apiError')
  if (fixed !== null) {
    reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    return null
  }
  const value = bearerOf(request)
  const found = value === null ? null : world.tokens.findAccess(value)
  if (found?.kind === 'live') return found.token
  const message =
    found === null
      ? 'Access token is empty.'
      : found.kind === 'expired'
        ? 'Lifetime validation failed, the token is expired.'
        : 'Access token validation failure.'
  const authorizationUri = `${world.origin}/common/oauth2/authorize`
  reply.header(
    'www-authenticate',
    `Bearer realm="", authorization_uri="${authorizationUri}", error="invalid_token"`,
  )
  sendGraphError(world, request, reply, 401, 'InvalidAuthenticationToken', message)
  return null
}

export function sendGraphError(
  world: MicrosoftWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  code: string,
  message: string,
): FastifyReply {
  const requestId = randomUUID()
  const sent = request.headers['client-request-id']
  const clientRequestId = typeof sent === 'string' ? sent : requestId
  const date = new Date(world.now()).toISOString().slice(0, 19)
  return reply
    .code(status)
    .header('request-id', requestId)
    .send({
      error: {
        code,
        message,
        innerError: { date, 'request-id': requestId, 'client-request-id': clientRequestId },
      },
    })
}
