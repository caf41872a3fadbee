/**
 * Every answer that is not a success, in one place: our own refusals, what the Auth service refused, and what Fastify
 * found wrong with a request. Sentences are fixed and say what to do; none repeats input, a stack or an upstream body
 * that is not the Auth service's own.
 */
import { ConnectError } from '@flovify/client'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'

const REFUSALS = {
  invalid_request: [400, 'The request is not one that this address accepts.'],
  sign_in_required: [401, 'You are not signed in: open a sign-in link.'],
  link_invalid: [401, 'This sign-in link was used before, has expired or is incomplete: ask for a new one.'],
  forbidden: [403, 'This request does not come from the console.'],
  not_found: [404, 'There is nothing here.'],
  method_not_allowed: [405, 'This address does not accept this method.'],
  already_signed_in: [409, 'Somebody is signed in here already: sign out first.'],
  too_large: [413, 'The request is larger than 64 KiB.'],
  unsupported_type: [415, 'The body must be application/json.'],
  internal: [500, 'Something went wrong here. It has been logged; try again.'],
  unavailable: [
    503,
    'The service behind the console does not answer at the moment. Try again in a few seconds.',
  ],
} as const satisfies Record<string, readonly [number, string]>

export type Refusal = keyof typeof REFUSALS

export function refuse(reply: FastifyReply, refusal: Refusal): FastifyReply {
  const [status, message] = REFUSALS[refusal]
  if (status === 503) reply.header('retry-after', '5')
  return reply.code(status).send({ error: refusal, message })
}

/** A refusal as a handler's answer. */
export function refused(refusal: Refusal): { status: number; body: { error: string; message: string } } {
  const [status, message] = REFUSALS[refusal]
  return { status, body: { error: refusal, message } }
}

/** The server's error handler. Logs only what is ours to answer for: code and places, never a message or a body. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof ConnectError) return answerUpstream(error, request, reply)
  const refusal = requestFault(error)
  if (refusal !== undefined) return refuse(reply, refusal)
  request.log.error({ error_code: codeOf(error), places: placesOf(error) }, 'unexpected error')
  return refuse(reply, 'internal')
}

/** What Auth refused, people may read: its 4xx and a failed exchange. All else means that it is not there for us. */
function answerUpstream(error: ConnectError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const told = !isOurs(error) && error.status >= 400 && error.status < 500
  if (told || (error.status === 502 && error.error === 'exchange_failed')) {
    const reason = /^[A-Za-z0-9_]{1,40}$/.test(error.reason ?? '') ? { reason: error.reason } : {}
    return reply.code(error.status).send({ error: error.error, message: error.message, ...reason })
  }
  request.log.warn({ upstream_status: error.status, error_code: error.error }, 'auth service did not serve')
  return refuse(reply, 'unavailable')
}

/** What says something about this process and not about the person: wrong service token, wrong address. */
export function isOurs(error: ConnectError): boolean {
  return ['bad_answer', 'service_token_required', 'too_many_failures'].includes(error.error)
}

function requestFault(error: unknown): Refusal | undefined {
  const { statusCode, code } = error as Partial<FastifyError>
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return 'too_large'
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return 'unsupported_type'
  if (statusCode === 404 || code === 'FST_ERR_BAD_URL') return 'not_found'
  return statusCode !== undefined && statusCode >= 400 && statusCode < 500 ? 'invalid_request' : undefined
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

function placesOf(error: unknown): string {
  const lines = error instanceof Error ? (error.stack ?? '').split('\n') : []
  return lines
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, 6)
    .join(' | ')
}
