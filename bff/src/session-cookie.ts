/**
 * The session cookie: read, set, cleared. `__Host-` makes the browser refuse it from any other host, path or plain
 * connection; `Strict` keeps it from every cross-site request. Never judges a session: that is Auth's.
 * Source: RFC 6265bis §4.1.3.2 (`__Host-`), §5.6.7 (SameSite); BC-02.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'

export const SESSION_COOKIE = '__Host-session'
/** The platform's own cookie, a JWT. Only read, never set or cleared: it is not ours. */
export const PLATFORM_COOKIE = 'session'

const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict'

export function readSession(request: FastifyRequest): string | undefined {
  return readCookie(request, SESSION_COOKIE, /^[A-Za-z0-9_-]{20,256}$/)
}

export function readPlatformJwt(request: FastifyRequest): string | undefined {
  return readCookie(request, PLATFORM_COOKIE, /^[A-Za-z0-9_-]{2,4096}(\.[A-Za-z0-9_-]{1,4096}){2}$/)
}

/** The cookie ends when the session does; Auth decides anyway. */
export function setSessionCookie(reply: FastifyReply, session: { token: string; expiresAt: string }): void {
  const expires = new Date(session.expiresAt).toUTCString()
  reply.header('set-cookie', `${SESSION_COOKIE}=${session.token}; ${ATTRIBUTES}; Expires=${expires}`)
}

export function clearSessionCookie(reply: FastifyReply): void {
  reply.header('set-cookie', `${SESSION_COOKIE}=; ${ATTRIBUTES}; Max-Age=0`)
}

/** Two different values of one name: somebody planted one, and nobody can tell which. Then there is no session. */
function readCookie(request: FastifyRequest, name: string, form: RegExp): string | undefined {
  const values = new Set<string>()
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name) values.add(pair.slice(equals + 1).trim())
  }
  const [value] = values
  return values.size === 1 && value !== undefined && form.test(value) ? value : undefined
}
