/**
 * The handshake by which a provider asks whether a URL is ours: a token in the query that has to come back as it is. No
 * I/O, so it is answered with the database down; only for a `ref` of ours, and never as a page that somebody could be
 * led to (security.md T20, T21).
 */
import type { Lookup, NotificationRequest, Verdict } from '../provider.ts'

/** Printable ASCII without `<` and `>`: exact echo stays possible, markup does not. Tokens are opaque. */
const TOKEN = /^[\x20-\x3b\x3d\x3f-\x7e]{1,2048}$/

/** @param tokens every value of the parameter, decoded */
export function judgeHandshake(
  request: NotificationRequest,
  lookup: Pick<Lookup, 'genuineRef'>,
  tokens: readonly string[],
): Verdict {
  if (request.ref === undefined || lookup.genuineRef(request.ref) === undefined)
    return { kind: 'rejected', status: 404, reason: 'bad_ref' }
  // A form on somebody's page that posts to us would show the answer as a page.
  if (request.headers['sec-fetch-mode']?.includes('navigate'))
    return { kind: 'rejected', status: 400, reason: 'navigation' }
  const [token, ...others] = tokens
  if (token === undefined || others.length > 0 || !TOKEN.test(token))
    return { kind: 'rejected', status: 400, reason: 'bad_validation_token' }
  return { kind: 'handshake', body: token }
}
