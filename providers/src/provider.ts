/**
 * The contract of a provider: what Microsoft, Google or any other has to say for itself so that the service can
 * connect accounts, subscribe, and judge what arrives. Read this first.
 *
 * A provider asks only for `fetch`, a clock and its own settings. It never touches a database, a server or the
 * environment, never logs, and never keeps a token. Every outcome that can be expected is a value with a `kind`.
 */
import type { ProviderWebhook } from './notification.ts'
import type { Secret } from './secret.ts'

export type {
  AccountSignal,
  Fact,
  Json,
  JsonObject,
  KnownSubscription,
  Lookup,
  NotificationRequest,
  ProviderWebhook,
  RejectionReason,
  SignalKind,
  Verdict,
} from './notification.ts'

/** What a provider may ask of the outside world. `fetch` must not follow redirects on its own authority. */
export interface Host {
  readonly fetch: typeof fetch
  readonly now: () => Date
}

/** Environment variables as given; `undefined` and `''` both mean "not set". */
export type Environment = Readonly<Record<string, string | undefined>>

export type SettingsReading<S> =
  | { readonly kind: 'off' }
  | { readonly kind: 'on'; readonly settings: S }
  /** Every mistake at once, each a sentence that names the variable and says what to do. */
  | { readonly kind: 'invalid'; readonly mistakes: readonly string[] }

/** One folder of `providers/src` exports one of these; `catalogue.ts` lists them. */
export interface ProviderModule<S = unknown> {
  /** As in URLs and tables: lower-case letters, digits and hyphens. */
  readonly id: string
  /** For people: `Microsoft 365`. */
  readonly label: string
  /** Documentation of the settings, for the README table and `--help`. */
  readonly variables: readonly SettingVariable[]
  /** Where `setup.md` (how an operator registers the app) and `icon.svg` lie, for the console. */
  readonly folder?: URL
  /** @param environment all variables; reads only its own. `mode` local allows plain http on loopback. */
  readSettings(environment: Environment, mode: 'production' | 'local'): SettingsReading<S>
  open(settings: S, host: Host): Provider
}

export interface SettingVariable {
  readonly name: string
  readonly meaning: string
  readonly fallback?: string
  readonly secret?: boolean
}

/** A provider in use. */
export interface Provider {
  readonly id: string
  readonly label: string
  /** When our own client secret ends there, where the operator has told it: nobody can ask the provider. */
  readonly clientSecretExpiresAt?: Date | undefined
  readonly oauth: ProviderOAuth
  readonly webhook: ProviderWebhook
  readonly subscriptions: ProviderSubscriptions
  /** What services may call through the proxy with a connection's token; absent: nothing. */
  readonly apis?: readonly ProviderApi[]
}

/** An API with its one fixed place: a path below `baseUrl` is all that a caller of the proxy chooses. */
export interface ProviderApi {
  /** The first segment of the proxy's path: lower-case letters, digits and hyphens. */
  readonly name: string
  /** Without a slash at the end. */
  readonly baseUrl: string
}

// ---- OAuth -------------------------------------------------------------------------------------------------------

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

// ---- Subscriptions -----------------------------------------------------------------------------------------------

export interface ProviderSubscriptions {
  /**
   * Whether the provider ends them when the user withdraws consent, so that a reconnected account needs new ones even
   * where the old ones have not expired; creating must then be idempotent for the account.
   */
  readonly endsWithGrant: boolean
  /** Whether the account has one for all connections of it: then it is stopped only with the last of them. */
  readonly sharedByAccount: boolean
  /** What should be subscribed for a connection with these scopes. Stable names: `mail`. */
  wanted(grantedScopes: readonly string[]): readonly WantedSubscription[]
  create(request: SubscriptionRequest): Promise<SubscriptionOutcome>
  /** Ends it at the provider; an unknown or expired one is success. */
  stop(
    request: SubscriptionStop,
  ): Promise<{ readonly kind: 'stopped' } | { readonly kind: 'failed'; readonly failure: Failure }>
}

export interface WantedSubscription {
  readonly kind: string
  /** Provider's resource: `me/messages`, `gmail`. */
  readonly resource: string
}

export interface SubscriptionRequest {
  readonly resource: string
  readonly accessToken: Secret
  /** `https://…/webhook/events/{provider}/{ref}`; unused by providers that push to one fixed place (Pub/Sub). */
  readonly notificationUrl: string
  readonly channelSecret: Secret
  readonly signal: AbortSignal
}

export interface SubscriptionStop {
  readonly resource: string
  readonly providerSubscriptionId: string
  readonly accessToken: Secret
  readonly signal: AbortSignal
}

export type SubscriptionOutcome =
  | {
      readonly kind: 'created'
      readonly providerSubscriptionId: string
      readonly expiresAt: Date
      readonly cursor?: string
    }
  | { readonly kind: 'failed'; readonly failure: Failure }
