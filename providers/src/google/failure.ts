/**
 * Maps the errors of Google's token endpoint and of its APIs to our failure classes: protocols/google.md §1.6 and
 * §6. Pure. Codes come from closed sets; descriptions never leave this file.
 */
import type { HttpAnswer } from '../http-answer.ts'
import { jsonOf, retryAfterSeconds } from '../http-answer.ts'
import type { ErrorAnswer } from '../oauth/token-request.ts'
import type { AuthorizationFailureReason, Failure } from '../provider.ts'
import { isArray, member, textMember } from '../webhook/hostile-json.ts'

const CLASS_BY_ERROR: ReadonlyMap<string, Failure['class']> = new Map([
  ['invalid_grant', 'permanent'],
  ['admin_policy_enforced', 'needs_admin'],
  ['org_internal', 'needs_admin'],
  ['access_denied', 'needs_user'],
  ['invalid_client', 'our_configuration'],
  ['deleted_client', 'our_configuration'],
  ['disabled_client', 'our_configuration'],
  ['unauthorized_client', 'our_configuration'],
  ['redirect_uri_mismatch', 'our_configuration'],
  ['invalid_request', 'our_configuration'],
  ['invalid_scope', 'our_configuration'],
  ['unsupported_grant_type', 'our_configuration'],
  ['rate_limit_exceeded', 'throttled'],
])

/** Transient even with status 400, in `error` or in `error_description` [PYAUTH `_can_retry`]. */
const TRANSIENT_WORDS = new Set(['internal_failure', 'server_error', 'temporarily_unavailable'])
/** Session control of the Workspace admin: the user signs in again [protocols §1.5]. */
const RAPT_SUBTYPES = new Set(['invalid_rapt', 'rapt_required'])

export function classifyTokenError(answer: ErrorAnswer): Failure {
  const { status, body } = answer
  const error = textMember(body, 'error') ?? ''
  const description = textMember(body, 'error_description') ?? ''
  const subtype = textMember(body, 'error_subtype') ?? ''
  const named = CLASS_BY_ERROR.get(error)
  const wait = answer.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: answer.retryAfterSeconds }
  const code = named !== undefined ? error : `http_${status}`

  if (status === 429) return { class: 'throttled', code, ...wait }
  if (status === 408 || status >= 500) return { class: 'transient', code, ...wait }
  const word = [error, description].find((text) => TRANSIENT_WORDS.has(text))
  if (word !== undefined) return { class: 'transient', code: word, ...wait }
  if (named === 'permanent' && RAPT_SUBTYPES.has(subtype)) return { class: 'needs_user', code: subtype }
  if (status === 403 && named === undefined) return { class: 'throttled', code, ...wait }
  // A 4xx without a word we know (a proxy, a captive portal) must not end a connection.
  return { class: named ?? 'transient', code, ...wait }
}

/** Most errors stop on Google's own page and never reach the callback (protocols/google.md §1.3). */
export function reasonOfAuthorizationError(error: string): AuthorizationFailureReason {
  switch (error) {
    case 'access_denied':
      return 'access_denied'
    case 'server_error':
    case 'temporarily_unavailable':
      return 'temporarily_unavailable'
    case 'admin_policy_enforced':
    case 'org_internal':
      return 'admin_required'
    default:
      return 'provider_error'
  }
}

const THROTTLE_REASONS = new Set([
  'rateLimitExceeded',
  'userRateLimitExceeded',
  'dailyLimitExceeded',
  'quotaExceeded',
  'sharingRateLimitExceeded',
])

/** Errors of Gmail's `watch` and `stop`: branch on `errors[].reason`, not on the status (protocols/google.md §3, §6). */
export function classifyApiError(answer: HttpAnswer, now: Date): Failure {
  const { status } = answer
  const { reason, message } = apiError(answer)
  const code = /^[A-Za-z]{1,40}$/.test(reason) ? reason : `http_${status}`
  const wait = retryAfterSeconds(answer.headers, now)
  const waiting = wait === undefined ? {} : { retryAfterSeconds: wait }
  if (status === 429 || THROTTLE_REASONS.has(reason)) return { class: 'throttled', code, ...waiting }
  if (status === 408 || status >= 500) return { class: 'transient', code, ...waiting }
  // A dead access token: whether the grant is dead too, only the token endpoint can say.
  if (status === 401) return { class: 'transient', code }
  // Gmail could not publish its test message: the topic or its permission is ours.
  if (/^Error sending test message to Cloud PubSub/i.test(message)) {
    return { class: 'our_configuration', code: status === 404 ? 'topic_not_found' : 'topic_forbidden' }
  }
  if (/^Only one user push notification client allowed/i.test(message))
    return { class: 'transient', code: 'push_client_conflict' }
  if (status === 403) return { class: reason === 'domainPolicy' ? 'needs_admin' : 'needs_user', code }
  return { class: status === 400 ? 'our_configuration' : 'transient', code }
}

function apiError(answer: HttpAnswer): { readonly reason: string; readonly message: string } {
  const error = member(jsonOf(answer), 'error')
  const errors = member(error, 'errors')
  const first = isArray(errors) ? errors[0] : undefined
  return { reason: textMember(first, 'reason') ?? '', message: textMember(error, 'message') ?? '' }
}
