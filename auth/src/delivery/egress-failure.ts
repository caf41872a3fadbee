/**
 * What went wrong on the way out, as one of our own fixed words. Text from outside never gets into an error column, a
 * log or the console; a code that is not known here is `network`.
 */
import { errors } from 'undici'

export type RefusalReason =
  | 'not_a_url'
  | 'scheme'
  | 'userinfo'
  | 'port'
  | 'special_address'
  | 'name_not_found'

export type FailureCode =
  | 'timeout'
  | 'aborted'
  | 'connection_refused'
  | 'connection_reset'
  | 'unreachable'
  | 'name_not_found'
  | 'tls'
  | 'bad_answer'
  | 'network'

/** Thrown inside the connector, before any socket exists. */
export class EgressRefusedError extends Error {
  readonly code = 'egress_refused'
  readonly reason: RefusalReason

  constructor(reason: RefusalReason) {
    super('the egress guard refused the address')
    this.name = 'EgressRefusedError'
    this.reason = reason
  }
}

const BY_CODE: Readonly<Record<string, FailureCode>> = {
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  UND_ERR_SOCKET: 'connection_reset',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ENOTFOUND: 'name_not_found',
  EAI_AGAIN: 'name_not_found',
  ENODATA: 'name_not_found',
  UND_ERR_HEADERS_OVERFLOW: 'bad_answer',
  UND_ERR_RESPONSE_EXCEEDED_MAX_SIZE: 'bad_answer',
}

export function failureCodeOf(error: unknown): FailureCode {
  if (error instanceof errors.HTTPParserError) return 'bad_answer'
  const code = codeOf(error)
  if (code === undefined) return 'network'
  const known = BY_CODE[code]
  if (known !== undefined) return known
  if (/^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|EPROTO$)/.test(code)) return 'tls'
  return 'network'
}

/** The error's own code, or its first part's where several addresses were tried. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ('code' in error && typeof error.code === 'string') return error.code
  if (error instanceof AggregateError) return codeOf(error.errors[0])
  return codeOf(error.cause)
}
