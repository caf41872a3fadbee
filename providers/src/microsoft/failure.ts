/**
 * Maps the errors of the identity platform and of Graph to our failure classes: the decision table of
 * protocols/microsoft.md §1.6 (reference-error-codes of entra-docs). Pure. Codes are the provider's own names
 * from a closed set; descriptions never leave this file.
 */
import type { HttpAnswer } from '../http-answer.ts'
import { jsonOf, retryAfterSeconds } from '../http-answer.ts'
import type { ErrorAnswer } from '../oauth/token-request.ts'
import type { AuthorizationFailureReason, Failure } from '../provider.ts'
import { isArray, member, textMember } from '../webhook/hostile-json.ts'

/** AADSTS numbers refine what `error` says; Microsoft warns that they may change, so an unknown one decides nothing. */
const CLASS_OF_NUMBER: Readonly<Record<Failure['class'], readonly number[]>> = {
  permanent: [70008, 700082, 700084, 50173, 70000, 50089, 50132, 50133, 70043, 54005, 501481],
  needs_user: [
    50076, 50079, 50072, 50074, 50078, 50158, 53000, 53001, 53002, 53003, 53004, 700020, 65001, 65004,
  ],
  needs_admin: [
    90094, 90095, 90008, 50057, 50034, 50020, 50105, 51004, 500212, 500213, 700016, 70001, 7000112,
  ],
  our_configuration: [
    7000215, 7000222, 70002, 700027, 50012, 7000218, 700025, 70011, 28000, 28002, 28003, 700022, 90014,
    900144, 9002313, 50011, 700005, 50194,
    // "Non-retryable" failures of the service: an operator has to look; the connection is not to blame.
    90036, 90092, 50086,
  ],
  transient: [90033, 90006, 90012, 90024, 90090, 50033, 50087, 70012],
  throttled: [90055, 50196],
}

const CLASS_BY_NUMBER: ReadonlyMap<number, Failure['class']> = new Map(
  (Object.keys(CLASS_OF_NUMBER) as Failure['class'][]).flatMap((name) =>
    CLASS_OF_NUMBER[name].map((number) => [number, name] as const),
  ),
)

const CLASS_BY_ERROR: ReadonlyMap<string, Failure['class']> = new Map([
  ['invalid_grant', 'permanent'],
  ['bad_token', 'permanent'],
  ['interaction_required', 'needs_user'],
  ['consent_required', 'needs_user'],
  ['login_required', 'needs_user'],
  ['access_denied', 'needs_user'],
  ['invalid_resource', 'needs_admin'],
  ['invalid_client', 'our_configuration'],
  ['unauthorized_client', 'our_configuration'],
  ['invalid_scope', 'our_configuration'],
  ['invalid_request', 'our_configuration'],
  ['unsupported_grant_type', 'our_configuration'],
  ['unsupported_response_type', 'our_configuration'],
  ['temporarily_unavailable', 'transient'],
  ['server_error', 'transient'],
])

/** A user can repair these by signing in again [MSALJS InteractionRequiredAuthError]; `bad_token` is left to the grant. */
const USER_SUBERRORS = new Set([
  'message_only',
  'additional_action',
  'basic_action',
  'user_password_expired',
  'consent_required',
])

export function classifyTokenError(answer: ErrorAnswer): Failure {
  const { status, body } = answer
  const number = firstNumber(body)
  const known = number === undefined ? undefined : CLASS_BY_NUMBER.get(number)
  const error = textMember(body, 'error') ?? ''
  const named = CLASS_BY_ERROR.get(error)
  const code = number !== undefined ? `AADSTS${number}` : named !== undefined ? error : `http_${status}`
  const wait = answer.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: answer.retryAfterSeconds }

  if (status === 429 || known === 'throttled') return { class: 'throttled', code, ...wait }
  if (status === 408 || status >= 500) return { class: 'transient', code, ...wait }
  if (known !== undefined) return { class: known, code, ...wait }
  if (named === 'permanent' && USER_SUBERRORS.has(textMember(body, 'suberror') ?? ''))
    return { class: 'needs_user', code }
  // A 4xx without a word we know (a proxy, a captive portal) must not end a connection.
  return { class: named ?? 'transient', code, ...wait }
}

/** Authorization endpoint errors, protocols/microsoft.md §1.2. */
export function reasonOfAuthorizationError(error: string): AuthorizationFailureReason {
  switch (error) {
    case 'access_denied':
      return 'access_denied'
    case 'server_error':
    case 'temporarily_unavailable':
      return 'temporarily_unavailable'
    case 'consent_required':
    case 'unauthorized_client':
    case 'invalid_resource':
      return 'admin_required'
    default:
      return 'provider_error'
  }
}

/** Errors of Graph's subscription API, protocols/microsoft.md §2.1 and §4.5. */
export function classifyGraphError(answer: HttpAnswer, now: Date): Failure {
  const { status } = answer
  const { code: name, message } = graphError(answer)
  const code = /^[A-Za-z][A-Za-z0-9_.]{0,63}$/.test(name) ? name : `http_${status}`
  const wait = retryAfterSeconds(answer.headers, now)
  const waiting = wait === undefined ? {} : { retryAfterSeconds: wait }
  if (status === 429) return { class: 'throttled', code, ...waiting }
  if (status === 408 || status >= 500) return { class: 'transient', code, ...waiting }
  // A dead access token: whether the grant is dead too, only the token endpoint can say.
  if (status === 401) return { class: 'transient', code }
  if (status === 403)
    return { class: /limit|quota/i.test(message) ? 'throttled' : 'needs_user', code, ...waiting }
  if (/^Subscription validation request timed out/i.test(message))
    return { class: 'transient', code: 'validation_timed_out' }
  if (/^Subscription validation request failed/i.test(message))
    return { class: 'our_configuration', code: 'validation_failed' }
  // The mailbox is unlicensed or not in the cloud, or the user is gone.
  if (name === 'ExtensionError' || status === 404) return { class: 'needs_admin', code }
  // Another connection of the same account has it: tried again until that one ends.
  if (status === 409) return { class: 'transient', code: 'already_subscribed' }
  return { class: status === 400 ? 'our_configuration' : 'transient', code }
}

export function graphError(answer: HttpAnswer): { readonly code: string; readonly message: string } {
  const error = member(jsonOf(answer), 'error')
  return { code: textMember(error, 'code') ?? '', message: textMember(error, 'message') ?? '' }
}

function firstNumber(body: ErrorAnswer['body']): number | undefined {
  const numbers = member(body, 'error_codes')
  if (isArray(numbers)) {
    const first = numbers.find(
      (entry) => typeof entry === 'number' && Number.isInteger(entry) && entry > 0 && entry < 1e8,
    )
    if (typeof first === 'number') return first
  }
  const named = /^AADSTS(\d{4,8})\b/.exec(textMember(body, 'error_description') ?? '')?.[1]
  return named === undefined ? undefined : Number(named)
}
