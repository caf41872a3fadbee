/**
 * The doorstep of Google's APIs, shared by Gmail, Drive and Calendar: who calls, with which scopes, and the error
 * envelope (protocols/google.md §6). It reads the bearer token and tells nothing about it.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { takeAnswer } from '../faults.ts'
import { noteApiRequest } from '../journal.ts'
import { bearerOf, describeRequest } from '../server.ts'
import type { HeldToken } from '../tokens.ts'
import { grantsEmail, grantsProfile } from './scopes.ts'
import { findGoogleAccount, type GoogleWorld } from './world.ts'

/** The live access token of a request that opens this API, or `null` after the refusal has been sent. */
export function apiCaller(
  world: GoogleWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  opens: (scopes: readonly string[]) => boolean,
): HeldToken | null {
  noteApiRequest(world.journal, describeRequest(request, world.now()))
  const fixed = takeAnswer(world.faults, 'apiError')
  if (fixed !== null) {
    reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    return null
  }
  const value = bearerOf(request)
  const found = value === null ? null : world.tokens.findAccess(value)
  if (found?.kind !== 'live') {
    const message = 'Request had invalid authentication credentials. Expected OAuth 2 access token.'
    reply.header('www-authenticate', 'Bearer realm="https://accounts.google.com/", error="invalid_token"')
    sendError(reply, 401, 'authError', message, 'UNAUTHENTICATED')
    return null
  }
  if (!opens(found.token.scopes)) {
    const message = 'Request had insufficient authentication scopes.'
    sendError(reply, 403, 'insufficientPermissions', message, 'PERMISSION_DENIED')
    return null
  }
  return found.token
}

export function sendError(
  reply: FastifyReply,
  code: number,
  reason: string,
  message: string,
  status: string,
): FastifyReply {
  return reply
    .code(code)
    .send({ error: { code, message, errors: [{ message, domain: 'global', reason }], status } })
}

/** OpenID Connect's userinfo (protocols/google.md §1.1), with the claims that the scopes open. */
export function serveUserinfo(server: FastifyInstance, world: GoogleWorld): void {
  server.get('/v1/userinfo', async (request, reply) => {
    const caller = apiCaller(world, request, reply, (scopes) => scopes.includes('openid'))
    if (caller === null) return reply
    const person = findGoogleAccount(caller.account)
    return reply.send({
      sub: person?.sub,
      hd: person?.hd,
      ...(grantsEmail(caller.scopes) ? { email: caller.account, email_verified: true } : {}),
      ...(grantsProfile(caller.scopes) ? { name: person?.name } : {}),
    })
  })
}
