/**
 * The three calls that local mode makes to Auth's internal API: is it ready, a one-time sign-in link, and the one
 * destination for the bundled receiver. It never prints the service token or what it gets.
 */

import type { LocalDestination, Role, SigninLink } from '@flovify/client'

export interface InternalApi {
  readonly origin: string
  readonly serviceSecret: string
}

/** A token for `/signin#<token>`: works once, for ten minutes. */
export async function makeSigninLink(api: InternalApi, email: string, role: Role): Promise<SigninLink> {
  const body = await call(api, 'POST', '/internal/signin-links', { email, role })
  return { token: text(body, 'token'), expires_at: text(body, 'expires_at') }
}

/** Makes the destination and its rule the first time, and answers the same secret ever after (local mode only). */
export async function ensureLocalDestination(api: InternalApi, url: string): Promise<LocalDestination> {
  const body = await call(api, 'PUT', '/internal/local/destination', { url, name: 'Local receiver' })
  return { id: text(body, 'id'), secret: text(body, 'secret') }
}

async function call(api: InternalApi, method: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${api.origin}${path}`, {
    method,
    headers: { 'content-type': 'application/json', 'x-service-token': api.serviceSecret },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  })
  if (response.ok) return response.json()
  throw Object.assign(new Error(`${method} ${path} was answered with ${response.status}`), {
    code: 'internal_api',
  })
}

function text(body: unknown, name: string): string {
  const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined
  if (typeof value === 'string') return value
  throw Object.assign(new Error(`the internal API answered without ${name}`), { code: 'internal_api' })
}
