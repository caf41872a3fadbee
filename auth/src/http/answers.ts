/** The errors of the internal API that no route makes, in one shape. Every sentence says what to do; none repeats input. */

export interface ErrorBody {
  readonly error: string
  readonly message: string
}

export const SERVICE_TOKEN_REQUIRED = {
  error: 'service_token_required',
  message:
    'Send the header X-Service-Token with the token of a named caller, or the value of SERVICE_SECRET.',
}
export const TOO_MANY_FAILURES = {
  error: 'too_many_failures',
  message: 'Too many requests without a valid service token. Try again in a minute.',
}
export const SIGN_IN_REQUIRED = {
  error: 'sign_in_required',
  message: 'The session is unknown or has ended. Sign in again.',
}
export const ADMIN_REQUIRED = { error: 'admin_required', message: 'Only an administrator may do this.' }
export const INVALID = {
  error: 'invalid_request',
  message: 'A field is missing, unknown or of the wrong type. See /openapi.json.',
}
export const UNREADABLE = { error: 'bad_request', message: 'The request could not be read. Send valid JSON.' }
export const TOO_LARGE = { error: 'too_large', message: 'The body is larger than 256 KiB.' }
export const UNSUPPORTED = {
  error: 'unsupported_media_type',
  message: 'Send application/json, in UTF-8 and not compressed.',
}
export const NOT_FOUND = { error: 'not_found', message: 'There is nothing here. See /openapi.json.' }
export const WRONG_METHOD = { error: 'method_not_allowed', message: 'This path has other methods.' }
export const FAILED = {
  error: 'internal_error',
  message: 'Something failed on our side. The log has the details.',
}
export const PERMISSION_REQUIRED = {
  error: 'permission_required',
  message: 'This caller may not do that. An operator gives permissions: npm run admin -- callers create.',
}
export const DATABASE_AWAY = {
  error: 'database_unavailable',
  message: 'The database does not answer now. Try again in some seconds.',
}
