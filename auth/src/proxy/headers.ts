/**
 * Which headers pass the proxy. Credentials, cookies and what belongs to one hop never do, in either direction; nor do
 * headers that claim an address, a user or another method. Everything else is passed on as it came, `Retry-After` too.
 * Sources: RFC 9110 §7.6.1 (connection-specific fields), RFC 7239.
 */
import type { IncomingHttpHeaders } from 'node:http'

const HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]
const CREDENTIALS = ['authorization', 'cookie', 'cookie2', 'set-cookie', 'set-cookie2', 'authentication-info']
const ONLY_FOR_US = ['host', 'expect', 'content-length', 'via', 'forwarded', 'x-real-ip', 'x-client-ip']
const METHOD_OVERRIDES = ['x-http-method', 'x-http-method-override', 'x-method-override']
const OUT = new Set([...HOP, ...CREDENTIALS, ...ONLY_FOR_US, ...METHOD_OVERRIDES])
const OUT_PREFIXES = ['x-service-', 'x-session-', 'x-forwarded-', 'x-user-', 'x-tenant-', 'proxy-']
const BACK = new Set([...HOP, ...CREDENTIALS, 'cache-control', 'strict-transport-security', 'alt-svc'])

export type PassedHeaders = Record<string, string | string[]>

/** Of a request, on its way to the provider. */
export function outgoingHeaders(given: IncomingHttpHeaders): PassedHeaders {
  return passed(given, (name) => !OUT.has(name) && !OUT_PREFIXES.some((prefix) => name.startsWith(prefix)))
}

/** Of the provider's answer. Our own `Cache-Control: no-store` stands in place of the provider's. */
export function returnedHeaders(given: IncomingHttpHeaders): PassedHeaders {
  return passed(given, (name) => !BACK.has(name))
}

function passed(given: IncomingHttpHeaders, passes: (name: string) => boolean): PassedHeaders {
  // what `Connection` names belongs to the hop too
  const named = new Set(
    String(given.connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
  const out: PassedHeaders = {}
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && !named.has(name) && passes(name)) out[name] = value
  return out
}
