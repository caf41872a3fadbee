/**
 * OAuth 2.0 and OpenID Connect with Google (protocols/google.md §1). What is particular: a refresh token comes only
 * when consent was shown, scopes come back under other names, and the issuer is written in two ways. It never
 * sends what would widen a grant beyond what was asked.
 */
import type { JWTPayload } from 'jose'
import { jsonOf, send, transportFailure } from '../http-answer.ts'
import { authorizationUrl } from '../oauth/authorization-url.ts'
import { validateIdToken } from '../oauth/id-token.ts'
import { type KeySet, remoteKeys } from '../oauth/keys.ts'
import { compareScopes, IDENTITY_SCOPES, withScopes } from '../oauth/scopes.ts'
import { redeemCode, refreshTokens, type TokenClient } from '../oauth/token-request.ts'
import type {
  Account,
  GrantRevocation,
  Host,
  ProviderOAuth,
  RevocationOutcome,
  ScopeDescription,
} from '../provider.ts'
import { textMember } from '../webhook/hostile-json.ts'
import { classifyApiError, classifyTokenError, reasonOfAuthorizationError } from './failure.ts'
import { type GoogleSettings, REAL_ACCOUNTS_URL } from './settings.ts'

const PREFIX = 'https://www.googleapis.com/auth/'

/** Marks: protocols/google.md and Google's list of sensitive and restricted scopes. */
const SCOPES: readonly ScopeDescription[] = [
  { scope: 'openid', sentence: 'Know that it is you.' },
  { scope: 'email', sentence: 'See your e-mail address.' },
  { scope: 'profile', sentence: 'See your name.' },
  { scope: `${PREFIX}gmail.readonly`, sentence: 'Read your mail.', restriction: 'restricted' },
  { scope: `${PREFIX}gmail.modify`, sentence: 'Read, label and move your mail.', restriction: 'restricted' },
  { scope: `${PREFIX}gmail.send`, sentence: 'Send mail in your name.', restriction: 'sensitive' },
  {
    scope: `${PREFIX}drive`,
    sentence: 'Read and change all your files in Drive.',
    restriction: 'restricted',
  },
  { scope: `${PREFIX}drive.readonly`, sentence: 'Read all your files in Drive.', restriction: 'restricted' },
  { scope: `${PREFIX}drive.file`, sentence: 'Read and change the files in Drive that you choose for it.' },
  { scope: `${PREFIX}calendar`, sentence: 'Read and change your calendars.', restriction: 'sensitive' },
  { scope: `${PREFIX}calendar.readonly`, sentence: 'Read your calendars.', restriction: 'sensitive' },
]

const ALIASES: ReadonlyMap<string, string> = new Map([
  [`${PREFIX}userinfo.email`, 'email'],
  [`${PREFIX}userinfo.profile`, 'profile'],
])

export function googleKeys(settings: GoogleSettings, host: Host): KeySet {
  return remoteKeys(host, `${settings.apiUrl}/oauth2/v3/certs`)
}

export function googleOAuth(settings: GoogleSettings, host: Host, keys: KeySet): ProviderOAuth {
  const client: TokenClient = {
    host,
    issuer: settings.accountsUrl,
    tokenEndpoint: `${settings.tokenUrl}/token`,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    classify: classifyTokenError,
  }
  const idTokenRule = {
    keys,
    clientId: settings.clientId,
    isIssuer: (claims: JWTPayload) => isGoogleIssuer(settings, claims.iss),
  }
  return {
    issuer: settings.accountsUrl,
    responseMode: 'query',
    defaultScopes: withScopes(
      [`${PREFIX}gmail.readonly`, `${PREFIX}drive`, `${PREFIX}calendar`],
      IDENTITY_SCOPES,
    ),
    scopes: SCOPES,
    reasonOf: reasonOfAuthorizationError,

    authorizationUrl(request) {
      const scopes = withScopes(request.scopes, IDENTITY_SCOPES)
      return authorizationUrl(
        `${settings.accountsUrl}/o/oauth2/v2/auth`,
        settings.clientId,
        { ...request, scopes },
        {
          access_type: 'offline',
          // A refresh token comes only when the consent page was shown; silent consent also helps an attacker.
          prompt: 'consent',
          // `include_granted_scopes` is not sent: with it the token would also cover every scope that this user ever
          // granted to the project, even through other clients, which is more than this connection asked for.
          ...(request.loginHint === undefined ? {} : { login_hint: request.loginHint }),
        },
      )
    },

    /** Google sends `iss` without declaring it (RFC 9207): when it is there it must be right, absence is in order. */
    judgeIssuer: (presented) =>
      presented === undefined || presented === settings.accountsUrl ? 'ok' : 'wrong',

    async exchange(request) {
      const asked = withScopes(request.scopes, IDENTITY_SCOPES)
      const answer = await redeemCode(client, { ...request, more: {} })
      if (answer.kind === 'failed') return answer
      const expected = { nonce: request.nonce, now: host.now(), signal: request.signal }
      const idToken = await validateIdToken(idTokenRule, answer.idToken, expected)
      if (idToken.kind === 'failed') return idToken
      const account = accountOf(idToken.claims)
      if (account === undefined) {
        return { kind: 'failed', failure: { class: 'permanent', code: 'id_token_without_account' } }
      }
      const known = new Map([['openid', true]])
      const { granted, missing } = compareScopes(asked, answer.scope, { canonical: canonicalScope, known })
      const { accessToken, refreshToken, expiresAt } = answer
      const tokens = { accessToken, refreshToken, expiresAt, grantedScopes: granted }
      return { kind: 'granted', tokens, account, missingScopes: missing }
    },

    async refresh(request) {
      const answer = await refreshTokens(client, { ...request, more: {} })
      if (answer.kind === 'failed') return answer
      const { granted } = compareScopes(request.scopes, answer.scope, { canonical: canonicalScope })
      const { accessToken, refreshToken, expiresAt } = answer
      return { kind: 'refreshed', tokens: { accessToken, refreshToken, expiresAt, grantedScopes: granted } }
    },

    revoke: (request) => revokeGrant(settings, host, request),
    withdrawalUrl: () => 'https://myaccount.google.com/connections',
  }
}

export function canonicalScope(scope: string): string {
  return ALIASES.get(scope) ?? scope
}

/** Google writes its issuer with and without the scheme; a configured other one only in one way. */
export function isGoogleIssuer(settings: GoogleSettings, issuer: unknown): boolean {
  if (issuer === settings.accountsUrl) return true
  return settings.accountsUrl === REAL_ACCOUNTS_URL && issuer === 'accounts.google.com'
}

/** `true` in real tokens, `"true"` in Google's own example. */
export function isVerified(claim: unknown): boolean {
  return claim === true || claim === 'true'
}

/** `sub` for ever; the address may change, is shown, and finds the mailbox of a push only when it is verified. */
function accountOf(claims: JWTPayload): Account | undefined {
  const { sub, email } = claims
  if (typeof sub !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(sub)) return undefined
  const address = typeof email === 'string' && email !== '' ? email.slice(0, 320) : undefined
  return {
    key: sub,
    label: address ?? (typeof claims.name === 'string' ? claims.name.slice(0, 320) : 'Google account'),
    address: isVerified(claims.email_verified) ? address?.toLowerCase() : undefined,
    tenant: undefined,
  }
}

/**
 * Ends a grant (protocols/google.md §1.7): one call takes away every scope that the account gave to the project, for all
 * its clients. Whoever calls makes sure that no other connection lives on the same grant. It needs no client secret.
 */
async function revokeGrant(
  settings: GoogleSettings,
  host: Host,
  request: GrantRevocation,
): Promise<RevocationOutcome> {
  const outcome = await send(host, {
    method: 'POST',
    url: `${settings.tokenUrl}/revoke`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token: request.token.reveal() }).toString(),
    signal: request.signal,
  })
  if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
  const { answer } = outcome
  if (answer.status === 200) return { kind: 'revoked' }
  // A token that is dead already has no grant behind it that this call could end.
  if (answer.status === 400 && textMember(jsonOf(answer), 'error') === 'invalid_token')
    return { kind: 'revoked' }
  const failure = classifyApiError(answer, host.now())
  // Only an answer about the token ends it; anything else may be a proxy's or a passing fault.
  return {
    kind: 'failed',
    failure: failure.class === 'throttled' ? failure : { ...failure, class: 'transient' },
  }
}
