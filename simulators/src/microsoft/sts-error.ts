/**
 * Errors of the security token service with every field that was captured (protocols/microsoft.md §1.6).
 * A description names a code and a reason, never a secret that was sent.
 */
import { randomUUID } from 'node:crypto'

export interface StsFailure {
  status: number
  error: string
  code: number
  text: string
  suberror?: string | undefined
}

export interface StsErrorBody {
  error: string
  error_description: string
  error_codes: number[]
  timestamp: string
  trace_id: string
  correlation_id: string
  error_uri: string
  suberror?: string
}

export function stsErrorBody(failure: StsFailure, now: number): StsErrorBody {
  const traceId = randomUUID()
  const correlationId = randomUUID()
  const timestamp = `${new Date(now).toISOString().slice(0, 19).replace('T', ' ')}Z`
  const trailer = `Trace ID: ${traceId}\r\nCorrelation ID: ${correlationId}\r\nTimestamp: ${timestamp}`
  return {
    error: failure.error,
    error_description: `AADSTS${failure.code}: ${failure.text}\r\n${trailer}`,
    error_codes: [failure.code],
    timestamp,
    trace_id: traceId,
    correlation_id: correlationId,
    error_uri: `https://login.microsoftonline.com/error?code=${failure.code}`,
    ...(failure.suberror ? { suberror: failure.suberror } : {}),
  }
}

const invalidGrant = { status: 400, error: 'invalid_grant' }
const invalidRequest = { status: 400, error: 'invalid_request' }
const invalidClient = { status: 401, error: 'invalid_client' }

/** The rows of the decision table that this simulator can meet by itself. */
export const failures = {
  unknownTenant: (segment: string): StsFailure => ({
    ...invalidRequest,
    error: 'invalid_tenant',
    code: 90002,
    text: `Tenant '${segment.replace(/[^A-Za-z0-9._-]/g, '')}' not found.`,
  }),
  unknownApplication: {
    status: 400,
    error: 'unauthorized_client',
    code: 700016,
    text: 'Application with the given identifier was not found in the directory.',
  },
  redirectMismatch: {
    ...invalidRequest,
    code: 50011,
    text: 'The redirect URI specified in the request does not match the redirect URIs configured for the application.',
  },
  malformed: {
    ...invalidRequest,
    code: 9002313,
    text: 'Invalid request. Request is malformed or invalid.',
  },
  missing: (name: string): StsFailure => ({
    ...invalidRequest,
    code: 900144,
    text: `The request body must contain the following parameter: '${name}'.`,
  }),
  unsupportedGrant: {
    status: 400,
    error: 'unsupported_grant_type',
    code: 70003,
    text: 'The app requested an unsupported grant type.',
  },
  unsupportedResponse: {
    status: 400,
    error: 'unsupported_response_type',
    code: 700054,
    text: "response_type 'id_token' is not enabled for the application.",
  },
  declined: {
    status: 400,
    error: 'access_denied',
    code: 65004,
    text: 'User declined to consent to access the app.',
  },
  adminOnly: {
    status: 403,
    error: 'access_denied',
    code: 90094,
    text: 'Administrator consent is required: sign in with an administrator of the organization.',
  },
  loginRequired: {
    status: 400,
    error: 'login_required',
    code: 50058,
    text: 'A silent sign-in request was sent but no user is signed in.',
  },
  interactionRequired: {
    status: 400,
    error: 'interaction_required',
    code: 65001,
    text: 'The user or administrator has not consented to use the application.',
  },
  noCredential: {
    ...invalidClient,
    code: 7000218,
    text: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
  },
  wrongSecret: { ...invalidClient, code: 7000215, text: 'Invalid client secret provided.' },
  badGrant: { ...invalidGrant, code: 70000, text: 'Provided grant is invalid or malformed.' },
  expiredGrant: {
    ...invalidGrant,
    code: 70008,
    text: 'The provided authorization code or refresh token has expired.',
  },
  inactiveGrant: {
    ...invalidGrant,
    code: 700082,
    text: 'The refresh token has expired due to inactivity.',
    suberror: 'bad_token',
  },
  /** As captured, with both times: the grant's and the one before which no grant is good. */
  revokedGrant: (issuedAt: number, validFrom: number): StsFailure => ({
    ...invalidGrant,
    code: 50173,
    text: `The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '${longTime(issuedAt)}' and the TokensValidFrom date (before which tokens are not valid) for this user is '${longTime(validFrom)}'.`,
    suberror: 'bad_token',
  }),
  redeemedCode: { ...invalidGrant, code: 54005, text: 'OAuth2 Authorization code was already redeemed.' },
  wrongTenant: {
    ...invalidGrant,
    code: 700005,
    text: 'Provided Authorization Code is intended to use against other tenant, thus rejected.',
  },
  foreignUser: {
    ...invalidGrant,
    code: 50020,
    text: 'User account does not exist in tenant and cannot access the application.',
  },
  wrongProof: {
    ...invalidGrant,
    code: 501481,
    text: 'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
  },
  notConsented: {
    ...invalidGrant,
    code: 65001,
    text: 'The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource.',
    suberror: 'consent_required',
  },
  mixedDefault: {
    status: 400,
    error: 'invalid_scope',
    code: 70011,
    text: "The provided value for the input parameter 'scope' is not valid: '.default' can not be combined with resource-specific scopes.",
  },
  severalResources: {
    status: 400,
    error: 'invalid_scope',
    code: 28000,
    text: 'The input parameter scope is not valid because it contains more than one resource.',
  },
}

function longTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '0000Z')
}
