/**
 * The headers that every answer carries, errors and files included. The policy has neither nonce nor inline code:
 * everything that runs or styles comes from our own origin as a file.
 * Sources: CSP Level 3; OWASP ASVS 5.0 §3.4; BC-06.
 */
import type { FastifyReply } from 'fastify'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "object-src 'none'",
  "frame-ancestors 'none'",
].join('; ')

const UNUSED_FEATURES = ['camera', 'display-capture', 'geolocation', 'microphone', 'payment', 'usb']

export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': UNUSED_FEATURES.map((feature) => `${feature}=()`).join(', '),
  // Files that may be cached say so themselves.
  'cache-control': 'no-store',
}

/** Two years. Only in production: plain http on loopback has no use for it. */
const TRANSPORT = 'max-age=63072000; includeSubDomains'

export function addSecurityHeaders(reply: FastifyReply, mode: 'production' | 'local'): void {
  reply.headers({ ...SECURITY_HEADERS })
  if (mode === 'production') reply.header('strict-transport-security', TRANSPORT)
}
