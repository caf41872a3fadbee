/**
 * OAuth 2.0 and OpenID Connect with the Microsoft identity platform v2.0 (protocols/microsoft.md §1). What is
 * particular: the issuer is a template with the tenant's id, keys may be bound to one issuer, `offline_access` is
 * never named in an answer, and the account is tenant and object id together. It never reads an access token.
 */
import type { JWTPayload } from 'jose'
import { authorizationUrl } from '../oauth/authorization-url.ts'
import { validateIdToken } from '../oauth/id-token.ts'
import { remoteKeys } from '../oauth/keys.ts'
import { compareScopes, IDENTITY_SCOPES, withScopes } from '../oauth/scopes.ts'
import { redeemCode, refreshTokens, type TokenClient } from '../oauth/token-request.ts'
import type { Account, Host, ProviderOAuth, ScopeDescription } from '../provider.ts'
import { classifyTokenError, reasonOfAuthorizationError } from './failure.ts'
import type { MicrosoftSettings } from './settings.ts'

const SCOPES: readonly ScopeDescription[] = [
  { scope: 'openid', sentence: 'Know that it is you.' },
  { scope: 'email', sentence: 'See your e-mail address.' },
  { scope: 'profile', sentence: 'See your name.' },
  { scope: 'offline_access', sentence: 'Keep working while you are away.' },
  { scope: 'User.Read', sentence: 'See your profile.' },
  { scope: 'Mail.Read', sentence: 'Read your mail.' },
  { scope: 'Mail.ReadWrite', sentence: 'Read, change and move your mail.' },
  { scope: 'Mail.Send', sentence: 'Send mail in your name.' },
  { scope: 'Files.ReadWrite.All', sentence: 'Read and change all files that you can open.' },
  { scope: 'Files.Read.All', sentence: 'Read all files that you can open.' },
  { scope: 'Calendars.ReadWrite', sentence: 'Read and change your calendars.' },
  { scope: 'Calendars.Read', sentence: 'Read your calendars.' },
  { scope: 'Contacts.Read', sentence: 'Read your contacts.' },
  {
    scope: 'User.Read.All',
    sentence: 'See the profiles of everybody in your organisation.',
    restriction: 'admin_consent',
  },
]

/** Without `offline_access` there is no refresh token, and the connection would die within the hour. */
const ALWAYS = [...IDENTITY_SCOPES, 'offline_access']

/** Personal accounts live in this one tenant. */
export const PERSONAL_TENANT = '9188040d-6c67-4c5b-b112-36a304b66dad'
export const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function microsoftOAuth(settings: MicrosoftSettings, host: Host): ProviderOAuth {
  const authority = `${settings.loginUrl}/${settings.tenant}`
  const issuer = `${authority}/v2.0`
  const canonical = canonicalScope(settings.graphUrl)
  const qualified = (scope: string) => `${settings.graphUrl}/${scope}`
  const client: TokenClient = {
    host,
    issuer,
    tokenEndpoint: `${authority}/oauth2/v2.0/token`,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    classify: classifyTokenError,
  }
  const idTokenRule = {
    keys: remoteKeys(host, `${authority}/discovery/v2.0/keys`),
    clientId: settings.clientId,
    isIssuer: (claims: JWTPayload, keyIssuer: string | undefined) => isIssuer(settings, claims, keyIssuer),
  }
  return {
    issuer,
    responseMode: 'form_post',
    defaultScopes: withScopes(
      ['Mail.Read', 'Mail.Send', 'Files.ReadWrite.All', 'Calendars.ReadWrite'],
      ALWAYS,
    ),
    scopes: SCOPES,
    reasonOf: reasonOfAuthorizationError,

    authorizationUrl(request) {
      const scopes = withScopes(request.scopes, ALWAYS)
      return authorizationUrl(
        `${authority}/oauth2/v2.0/authorize`,
        settings.clientId,
        { ...request, scopes },
        {
          response_mode: 'form_post',
          // The two exclude each other [AUTHCODE].
          ...(request.loginHint === undefined
            ? { prompt: 'select_account' }
            : { login_hint: request.loginHint }),
        },
      )
    },

    /** protocols/microsoft.md §1.3: not for `common`; the same redirect address as a sign-in. */
    adminConsentUrl(request) {
      const tenant = settings.tenant === 'common' ? 'organizations' : settings.tenant
      const url = new URL(`${settings.loginUrl}/${tenant}/v2.0/adminconsent`)
      url.searchParams.set('client_id', settings.clientId)
      url.searchParams.set('redirect_uri', request.redirectUri)
      url.searchParams.set(
        'scope',
        request.scopes
          .filter((scope) => !ALWAYS.includes(scope))
          .map(qualified)
          .join(' '),
      )
      url.searchParams.set('state', request.state)
      return url
    },

    /** By GET, marked by `admin_consent`; its `tenant` can be forged and is not read [ADMIN]. */
    readAdminConsent(query) {
      const values = (name: string) => query.flatMap(([key, value]) => (key === name ? [value] : []))
      const [mark, ...marks] = values('admin_consent')
      const [state, ...states] = values('state')
      if (mark?.toLowerCase() !== 'true' || marks.length > 0 || state === undefined || states.length > 0)
        return undefined
      return { state, granted: values('error').length === 0 }
    },

    /** Entra sends no `iss` and declares none, so absence is in order; a wrong one is somebody else's answer. */
    judgeIssuer(presented) {
      if (presented === undefined || presented === issuer) return 'ok'
      const tid = tenantOfIssuer(settings, presented)
      return tid !== undefined && isExpectedTenant(settings, tid) ? 'ok' : 'wrong'
    },

    async exchange(request) {
      const asked = withScopes(request.scopes, ALWAYS)
      const answer = await redeemCode(client, { ...request, more: { scope: asked.join(' ') } })
      if (answer.kind === 'failed') return answer
      const expected = { nonce: request.nonce, now: host.now(), signal: request.signal }
      const idToken = await validateIdToken(idTokenRule, answer.idToken, expected)
      if (idToken.kind === 'failed') return idToken
      const account = accountOf(idToken.claims)
      if (account === undefined) {
        return { kind: 'failed', failure: { class: 'permanent', code: 'id_token_without_account' } }
      }
      const known = new Map([
        ['openid', true],
        ['offline_access', answer.refreshToken !== undefined],
      ])
      const { granted, missing } = compareScopes(asked, answer.scope, { canonical, known })
      const { accessToken, refreshToken, expiresAt } = answer
      const tokens = { accessToken, refreshToken, expiresAt, grantedScopes: granted }
      return { kind: 'granted', tokens, account, missingScopes: missing }
    },

    async refresh(request) {
      const asked = withScopes(request.scopes, ALWAYS)
      const answer = await refreshTokens(client, { ...request, more: { scope: asked.join(' ') } })
      if (answer.kind === 'failed') return answer
      // A refresh that worked proves `offline_access`, whether or not it brought a new refresh token.
      const known = new Map([
        ['openid', true],
        ['offline_access', true],
      ])
      const { granted } = compareScopes(asked, answer.scope, { canonical, known })
      const { accessToken, refreshToken, expiresAt } = answer
      return { kind: 'refreshed', tokens: { accessToken, refreshToken, expiresAt, grantedScopes: granted } }
    },

    /** There is no revocation endpoint (protocols/microsoft.md §1.8): a person withdraws the consent himself. */
    withdrawalUrl: (tenant) =>
      tenant === PERSONAL_TENANT
        ? 'https://account.live.com/consent/Manage'
        : 'https://myapps.microsoft.com/',
  }
}

/** Answers use short or full names in any case: `https://graph.microsoft.com/Mail.Read` is `mail.read`. */
export function canonicalScope(graphUrl: string): (scope: string) => string {
  const prefixes = [`${graphUrl}/`.toLowerCase(), 'https://graph.microsoft.com/']
  return (scope) => {
    const lower = scope.toLowerCase()
    const prefix = prefixes.find((candidate) => lower.startsWith(candidate))
    return prefix === undefined ? lower : lower.slice(prefix.length)
  }
}

/**
 * The rule for tenant-independent issuers [AT]: `tid` is a GUID, the template with it substituted equals `iss`, a
 * key with the template signs for any tenant, and a key with an issuer of its own only for exactly that one.
 */
function isIssuer(settings: MicrosoftSettings, claims: JWTPayload, keyIssuer: string | undefined): boolean {
  const { tid, iss } = claims
  if (typeof tid !== 'string' || !GUID.test(tid) || !isExpectedTenant(settings, tid)) return false
  if (iss !== `${settings.loginUrl}/${tid}/v2.0`) return false
  return keyIssuer === undefined || keyIssuer === `${settings.loginUrl}/{tenantid}/v2.0` || keyIssuer === iss
}

function isExpectedTenant(settings: MicrosoftSettings, tid: string): boolean {
  const tenant = settings.tenant.toLowerCase()
  const personal = tid.toLowerCase() === PERSONAL_TENANT
  if (tenant === 'organizations') return !personal
  if (tenant === 'consumers') return personal
  // A domain's tenant id is not known here; the keys and the token endpoint of that domain vouch for it.
  return GUID.test(tenant) ? tid.toLowerCase() === tenant : true
}

function tenantOfIssuer(settings: MicrosoftSettings, issuer: string): string | undefined {
  const [before, after] = [`${settings.loginUrl}/`, '/v2.0']
  if (!issuer.startsWith(before) || !issuer.endsWith(after)) return undefined
  const tid = issuer.slice(before.length, -after.length)
  return GUID.test(tid) ? tid : undefined
}

/** Tenant and object id for ever [IDT]; `preferred_username` and `email` change and are only shown. */
function accountOf(claims: JWTPayload): Account | undefined {
  const { tid, oid } = claims
  if (typeof tid !== 'string' || typeof oid !== 'string' || !GUID.test(oid)) return undefined
  const names = [claims.preferred_username, claims.email, claims.name]
  const label = names.find((name): name is string => typeof name === 'string' && name !== '')
  const tenant = tid.toLowerCase()
  return {
    key: `${tenant}:${oid.toLowerCase()}`,
    label: (label ?? 'Microsoft account').slice(0, 320),
    address: undefined,
    tenant,
  }
}
