/**
 * The CSRF guard: lets a request that changes state pass only when the console's own script sent it. Judges headers
 * alone, before the body is read; never looks at the cookie, so it also protects signing in.
 * Sources: OWASP CSRF Prevention Cheat Sheet ("Custom request headers", "Origin"), Fetch Metadata (`same-site` is
 * hostile: it is what a sibling subdomain sends), BC-01.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { refuse } from './failure.ts'

export const CONSOLE_HEADER = 'flovify-console'

/** Content types that a page of another origin can send without asking (Fetch, CORS-safelisted request-header). */
const FORM_TYPES = /^(text\/plain|multipart\/form-data|application\/x-www-form-urlencoded)\s*(;|$)/i

/** @returns true when the request was refused with 403 */
export function refuseForeignOrigin(request: FastifyRequest, reply: FastifyReply, origin: string): boolean {
  if (isFromConsole(request, origin)) return false
  void refuse(reply, 'forbidden')
  return true
}

function isFromConsole(request: FastifyRequest, origin: string): boolean {
  // Distinct values: a repeated header must not slip through as its first occurrence.
  const { headersDistinct: headers } = request.raw
  const only = (name: string): string | undefined =>
    headers[name]?.length === 1 ? headers[name][0] : undefined
  if (only('origin') !== origin) return false
  if (only('x-requested-with') !== CONSOLE_HEADER) return false
  if (headers['sec-fetch-site'] !== undefined && only('sec-fetch-site') !== 'same-origin') return false
  return isBodyTypeHonest(request, headers['content-type'])
}

/** A body without a type, or with one that a form can send, is not from our script. Other types get 415 later. */
function isBodyTypeHonest(request: FastifyRequest, types: string[] | undefined): boolean {
  if (types !== undefined) return types.length === 1 && !FORM_TYPES.test(types[0]?.trim() ?? '')
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  return encoding === undefined && (length === undefined || length === '0')
}
