/**
 * Judges the form of an authorization response, before anything is looked up: the method that the provider was asked
 * for, one source of parameters, each that matters once and of bounded length and legal characters. Pure. Whatever it
 * refuses leaves the flow untouched, so that a stranger who only knows our address cannot end one.
 * Sources: RFC 6749 §4.1.2 and appendix A, RFC 9207 §2, OAuth 2.0 Form Post Response Mode §2.
 */

export const PARAMETER_BYTES = 4 * 1024
export const CALLBACK_BODY_BYTES = 8 * 1024

export interface CallbackRequest {
  readonly method: string
  readonly query: readonly (readonly [string, string])[]
  readonly contentType: string | undefined
  readonly body: Buffer
}

/** Well formed; says nothing about whether the state is ours. */
export type AuthorizationResponse = { readonly state: string; readonly iss: string | undefined } & (
  | { readonly kind: 'code'; readonly code: string }
  | { readonly kind: 'error'; readonly error: string }
)

export type Malformed =
  | 'wrong_method'
  | 'two_sources'
  | 'wrong_content_type'
  | 'oversized'
  | 'duplicate_parameter'
  | 'malformed_parameter'
  | 'incomplete'

export type CallbackJudgement =
  | { readonly kind: 'well_formed'; readonly response: AuthorizationResponse }
  | { readonly kind: 'malformed'; readonly reason: Malformed }

const JUDGED = ['code', 'state', 'iss', 'error'] as const
type Judged = (typeof JUDGED)[number]

export function judgeCallbackParameters(
  responseMode: 'query' | 'form_post',
  request: CallbackRequest,
): CallbackJudgement {
  const source = judgeSource(responseMode, request)
  if (typeof source === 'string') return malformed(source)
  const once = judgeOccurrences(source)
  if (typeof once === 'string') return malformed(once)
  const { state, iss, code, error } = once
  if (state === undefined || (code === undefined) === (error === undefined)) return malformed('incomplete')
  if (!isVisible(state)) return malformed('malformed_parameter')
  if (code !== undefined) {
    if (!isVisible(code)) return malformed('malformed_parameter')
    return { kind: 'well_formed', response: { kind: 'code', state, iss, code } }
  }
  if (error === undefined || !isErrorCode(error)) return malformed('malformed_parameter')
  return { kind: 'well_formed', response: { kind: 'error', state, iss, error } }
}

const malformed = (reason: Malformed): CallbackJudgement => ({ kind: 'malformed', reason })

function judgeSource(
  responseMode: 'query' | 'form_post',
  request: CallbackRequest,
): readonly (readonly [string, string])[] | Malformed {
  if (request.body.length > CALLBACK_BODY_BYTES) return 'oversized'
  if (request.query.length > 0 && request.body.length > 0) return 'two_sources'
  // from here on only the one source that the provider was asked for is read
  if (responseMode === 'query') return request.method === 'GET' ? request.query : 'wrong_method'
  if (request.method !== 'POST') return 'wrong_method'
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(request.contentType ?? ''))
    return 'wrong_content_type'
  return [...new URLSearchParams(request.body.toString('utf8'))]
}

function judgeOccurrences(
  parameters: readonly (readonly [string, string])[],
): Partial<Record<Judged, string>> | Malformed {
  const found: Partial<Record<Judged, string>> = {}
  for (const [name, value] of parameters) {
    const judged = JUDGED.find((wanted) => wanted === name)
    if (judged === undefined) continue
    if (found[judged] !== undefined) return 'duplicate_parameter'
    if (Buffer.byteLength(value) > PARAMETER_BYTES) return 'oversized'
    found[judged] = value
  }
  return found
}

/** RFC 6749 appendix A.5 and A.11: `1*VSCHAR`. */
const isVisible = (text: string) => /^[\x20-\x7e]+$/.test(text)

/** RFC 6749 appendix A.7: `1*NQSCHAR`. */
const isErrorCode = (text: string) => /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(text)
