/**
 * The decision table of protocols/microsoft.md §1.6, row by row: status, error, suberror and a description as the
 * error reference has it. Data only; the `class` is the document's own last column.
 */

export type FailureClass =
  | 'permanent'
  | 'needs_user'
  | 'needs_admin'
  | 'our_config'
  | 'transient'
  | 'throttled'
  | 'fail'

export interface FailureGroup {
  class: FailureClass
  status: number
  error: string
  suberror?: string
  codes: Record<number, string>
}

export const failureGroups: readonly FailureGroup[] = [
  {
    class: 'permanent',
    status: 400,
    error: 'invalid_grant',
    codes: {
      70008: 'The provided authorization code or refresh token has expired due to inactivity.',
      700084:
        'The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime.',
      70000: 'Provided grant is invalid or malformed.',
      50089: 'Authentication failed due to flow token expired.',
      50132: 'The session is not valid due to password expiration or recent password change.',
      50133: 'Session is invalid due to expiration or recent password change.',
      70043:
        'The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.',
      54005: 'OAuth2 Authorization code was already redeemed, please retry with a new valid code.',
      501481: 'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
    },
  },
  {
    class: 'permanent',
    status: 400,
    error: 'invalid_grant',
    suberror: 'bad_token',
    codes: {
      700082: 'The refresh token has expired due to inactivity.',
      50173:
        'The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.',
    },
  },
  {
    class: 'needs_user',
    status: 400,
    error: 'interaction_required',
    suberror: 'basic_action',
    codes: {
      50072:
        'Due to a configuration change made by your administrator, you must enroll in multi-factor authentication.',
      50074: 'Strong Authentication is required.',
      50076:
        'Due to a configuration change made by your administrator, you must use multi-factor authentication.',
      50078:
        'Presented multi-factor authentication has expired due to policies configured by your administrator.',
      50079:
        'Due to a configuration change made by your administrator, you must enroll in multi-factor authentication.',
      50158: 'External security challenge not satisfied.',
      700020: 'The interaction is required.',
    },
  },
  {
    class: 'needs_user',
    status: 400,
    error: 'invalid_grant',
    suberror: 'message_only',
    codes: {
      53000: 'Device is not in required device state: compliant.',
      53001: 'Device is not in required device state: domain_joined.',
      53002: 'Application used is not an approved application for Conditional Access.',
      53003: 'Access has been blocked by Conditional Access policies.',
      53004: 'User needs to complete multi-factor authentication registration process.',
    },
  },
  {
    class: 'needs_user',
    status: 400,
    error: 'invalid_grant',
    suberror: 'consent_required',
    codes: {
      65001:
        'The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource.',
      65004: 'User declined to consent to access the app.',
    },
  },
  {
    class: 'needs_admin',
    status: 400,
    error: 'invalid_grant',
    suberror: 'consent_required',
    codes: {
      90094: 'Administrator consent is required.',
      90095: 'Admin consent is required. The request was sent to the administrator.',
      90008:
        'The user or administrator has not consented to use the application. The app must require at least sign-in permission.',
    },
  },
  {
    class: 'needs_admin',
    status: 400,
    error: 'invalid_grant',
    codes: {
      50057: 'The user account is disabled.',
      50020:
        'User account from identity provider does not exist in tenant and cannot access the application.',
      50105: 'The signed in user is not assigned to a role for the application.',
      51004: 'The user account does not exist in the directory.',
      500212:
        "The user's administrator has set an outbound access policy that does not allow access to the resource tenant.",
      500213:
        "The resource tenant's cross-tenant access policy does not allow this user to access this tenant.",
    },
  },
  {
    class: 'needs_admin',
    status: 400,
    error: 'invalid_grant',
    suberror: 'bad_token',
    codes: { 50034: 'The user account does not exist in the directory.' },
  },
  {
    class: 'our_config',
    status: 401,
    error: 'invalid_client',
    codes: {
      7000215: 'Invalid client secret provided.',
      7000222: 'The provided client secret keys are expired.',
      70002: 'Error validating credentials.',
      700027: 'Client assertion failed signature validation.',
      7000218:
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    },
  },
  {
    class: 'needs_admin',
    status: 400,
    error: 'unauthorized_client',
    codes: {
      700016: 'Application was not found in the directory.',
      70001: 'Application is not supported for this account or not installed in the tenant.',
      7000112: 'Application is disabled.',
    },
  },
  {
    class: 'our_config',
    status: 400,
    error: 'invalid_scope',
    codes: {
      70011: "The provided value for the input parameter 'scope' is not valid.",
      28000: 'The input parameter scope is not valid because it contains more than one resource.',
      28002: 'Provided value for the input parameter scope is not valid when requesting an access token.',
      28003: 'Provided value for the input parameter scope can not be empty when requesting an access token.',
      700022: 'Invalid value was provided for the input parameter scope: it contains more than one resource.',
    },
  },
  {
    class: 'our_config',
    status: 400,
    error: 'invalid_request',
    codes: {
      90014: 'The required field is missing from the credential.',
      900144: "The request body must contain the following parameter: 'grant_type'.",
      9002313: 'Invalid request. Request is malformed or invalid.',
      50011:
        'The redirect URI specified in the request does not match the redirect URIs configured for the application.',
    },
  },
  {
    class: 'transient',
    status: 503,
    error: 'temporarily_unavailable',
    codes: {
      90033: 'A transient error has occurred. Please try again.',
      90006: 'The service is temporarily unavailable.',
      90012: 'The request has timed out.',
      90024: 'The request budget was exceeded or failed.',
      90090: 'The service is temporarily unavailable.',
      50033: 'A transient error has occurred. Please try again.',
      50087: 'A transient error has occurred during sign-out.',
      70012: 'A server error occurred while authenticating a personal account.',
    },
  },
  {
    class: 'throttled',
    status: 429,
    error: 'temporarily_unavailable',
    codes: { 90055: 'There are too many incoming requests. Please try again later.' },
  },
  {
    class: 'throttled',
    status: 400,
    error: 'invalid_grant',
    codes: { 50196: 'The server terminated an operation because it encountered a client request loop.' },
  },
  {
    class: 'fail',
    status: 400,
    error: 'server_error',
    codes: {
      90036: 'An unexpected, non-retryable error happened in the service.',
      90092: 'A non-retryable error has occurred.',
      50086: 'A non-retryable error has occurred.',
    },
  },
]
