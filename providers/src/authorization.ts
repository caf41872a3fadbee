/**
 * The half of the provider contract that is about authorization: what is asked for, who agrees, what is granted, how it
 * ends, and what a failure means. Types only.
 */
import type { Secret } from './secret.ts'

export interface ScopeDescription {
  readonly scope: string
  /** A sentence for people: "Read your mail." */
  readonly sentence: string
  /**
   * What stands between asking and getting: `sensitive` and `restricted` need the provider's verification of our app,
   * `admin_consent` needs an administrator of the organisation. Absent: nothing.
   */
  readonly restriction?: 'sensitive' | 'restricted' | 'admin_consent'
}

export interface ProviderOAuth {
  /** The value of RFC 9207 `iss` to store with the flow and to compare with. */
  readonly issuer: string
  readonly responseMode: 'query' | 'form_post'
  readonly defaultScopes: readonly string[]
  readonly scopes: readonly ScopeDescription[]
  /** RFC 6749 §4.1.1 with PKCE S256 (RFC 7636) and OpenID Connect nonce. Pure. */
  authorizationUrl(request: AuthorizationRequest): URL
  /** Where an administrator agrees for a whole organisation; absent where there is no such thing. Pure. */
  adminConsentUrl?(request: AdminConsentRequest): URL
  /** Whether a callback answers such a request, and how. Never says for which organisation: that can be forged. */
  readAdminConsent?(
    query: readonly (readonly [string, string])[],
  ): { readonly state: string; readonly granted: boolean } | undefined
  /** RFC 9207: `wrong` also when it is absent although this provider's metadata declares it. */
  judgeIssuer(presented: string | undefined): 'ok' | 'wrong'
  /** Maps the `error` of an authorization response to one of our own fixed reasons; never passes text through. */
  reasonOf(error: string): AuthorizationFailureReason
  /** Redeems the code once: token request, id token checked (signature, iss, aud, exp, nonce), account identified. */
  exchange(request: CodeExchange): Promise<ExchangeOutcome>
  /** RFC 6749 §6. */
  refresh(request: TokenRefresh): Promise<RefreshOutcome>
  /**
   * Ends the whole grant of the account: RFC 7009, or what the provider has instead. Absent where there is no such
   * endpoint. A grant that is dead already is `revoked`.
   */
  revoke?(request: GrantRevocation): Promise<RevocationOutcome>
  /** Where a person withdraws the consent himself. @param tenant as in `Account.tenant` */
  withdrawalUrl(tenant: string | undefined): string
}

export interface AdminConsentRequest {
  readonly state: string
  readonly redirectUri: string
  readonly scopes: readonly string[]
}

export interface GrantRevocation {
  /** The refresh token where there is one. */
  readonly token: Secret
  readonly signal: AbortSignal
}

export type RevocationOutcome =
  | { readonly kind: 'revoked' }
  | { readonly kind: 'failed'; readonly failure: Failure }

export interface AuthorizationRequest {
  readonly state: string
  readonly nonce: string
  readonly codeChallenge: string
  readonly redirectUri: string
  readonly scopes: readonly string[]
  readonly loginHint?: string
}

export type AuthorizationFailureReason =
  | 'access_denied'
  | 'admin_required'
  | 'temporarily_unavailable'
  | 'provider_error'

export interface CodeExchange {
  readonly code: Secret
  readonly codeVerifier: Secret
  readonly nonce: Secret
  readonly redirectUri: string
  readonly scopes: readonly string[]
  readonly signal: AbortSignal
}

export interface TokenRefresh {
  readonly refreshToken: Secret
  readonly scopes: readonly string[]
  readonly signal: AbortSignal
}

export interface TokenSet {
  readonly accessToken: Secret
  /** Absent when the answer has none: keep the earlier one. */
  readonly refreshToken: Secret | undefined
  readonly expiresAt: Date
  /** What was really granted, in our spelling of `scopes`. */
  readonly grantedScopes: readonly string[]
}

/** Who was connected. `key` identifies the account for ever: Microsoft `tid:oid`, Google `sub`. */
export interface Account {
  readonly key: string
  /** Shown to people, as text; may change. */
  readonly label: string
  /** The address that notifications name, lower-case, where the provider names one (Gmail). */
  readonly address: string | undefined
  readonly tenant: string | undefined
}

export type ExchangeOutcome =
  | {
      readonly kind: 'granted'
      readonly tokens: TokenSet
      readonly account: Account
      readonly missingScopes: readonly string[]
    }
  | { readonly kind: 'failed'; readonly failure: Failure }

export type RefreshOutcome =
  | { readonly kind: 'refreshed'; readonly tokens: TokenSet }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** Failure classes of `protocols/`. Only the first three say something about the connection. */
export interface Failure {
  readonly class: 'permanent' | 'needs_user' | 'needs_admin' | 'our_configuration' | 'transient' | 'throttled'
  /** Stable, for logs, metrics and the console: `invalid_grant`, `AADSTS7000215`, `timeout`. Never a token, never free text. */
  readonly code: string
  readonly retryAfterSeconds?: number
}
