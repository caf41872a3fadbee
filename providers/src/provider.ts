/**
 * The contract of a provider: what Microsoft, Google or any other has to say for itself so that the service can
 * connect accounts, subscribe, and judge what arrives. Read this first.
 *
 * A provider asks only for `fetch`, a clock and its own settings. It never touches a database, a server or the
 * environment, never logs, and never keeps a token. Every outcome that can be expected is a value with a `kind`.
 */
import type { Failure, ProviderOAuth } from './authorization.ts'
import type { CallLimits } from './call-limits.ts'
import type { Encryption, SubscriptionEncryption } from './encryption.ts'
import type { ProviderWebhook } from './notification.ts'
import type { Secret } from './secret.ts'

export type {
  Account,
  AdminConsentRequest,
  AuthorizationFailureReason,
  AuthorizationRequest,
  CodeExchange,
  ExchangeOutcome,
  Failure,
  GrantRevocation,
  ProviderOAuth,
  RefreshOutcome,
  RevocationOutcome,
  ScopeDescription,
  TokenRefresh,
  TokenSet,
} from './authorization.ts'
export type { CallLimits } from './call-limits.ts'
export type { Encryption, NewCertificate, SubscriptionEncryption } from './encryption.ts'
export type {
  AccountSignal,
  Fact,
  Json,
  JsonObject,
  KnownSubscription,
  Lookup,
  NotificationRequest,
  Orphan,
  PrivateKeyReading,
  ProviderWebhook,
  RejectionReason,
  SignalKind,
  Verdict,
} from './notification.ts'

/** What a provider may ask of the outside world. `fetch` must not follow redirects on its own authority. */
export interface Host {
  readonly fetch: typeof fetch
  /** As `fetch`, at the pace that all processes keep together at this provider: for all that is done about subscriptions. */
  readonly call: typeof fetch
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
  /** How fast its API may be called about subscriptions, where the service's own pace (50 a second) is too fast. */
  readonly callLimits?: CallLimits
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

// ---- Subscriptions -----------------------------------------------------------------------------------------------

export interface ProviderSubscriptions {
  /**
   * Whether the provider ends them when the user withdraws consent, so that a reconnected account needs new ones even
   * where the old ones have not expired; creating must then be idempotent for the account.
   */
  readonly endsWithGrant: boolean
  /** Whether the account has one for all connections of it: then it is stopped only with the last of them. */
  sharedByAccount(resource: string): boolean
  /** What should be subscribed for a connection with these scopes. Stable names: `mail`. */
  wanted(grantedScopes: readonly string[]): readonly WantedSubscription[]
  create(request: SubscriptionRequest): Promise<SubscriptionOutcome>
  /** Whether it cannot be prolonged: then a new one is made and the old one stopped, and `renew` is never called. */
  isReplaced?(resource: string): boolean
  /** Puts the end of a live one off, for as long as the provider grants. */
  renew(request: SubscriptionRenewal): Promise<RenewalOutcome>
  /** Longest time between two renewals where the provider asks for one sooner than at half of the life. */
  renewWithinMs?(resource: string): number | undefined
  /** For what can be pushed with its content, encrypted to a certificate of ours. Absent: nothing can. */
  readonly encryption?: SubscriptionEncryption
  /** Whether its pushes wait once the access token that made or renewed it has expired; then it is renewed before that. */
  readonly pausesWithToken?: boolean
  /** What follows from a live one: each calendar of a list. Their kinds begin with its own and a colon. */
  discover?(request: SubscriptionQuestion): Promise<DiscoveryOutcome>
  /** Asks cheaply whether anything changed since `cursor`. Without a cursor: only where to begin. */
  check(request: SubscriptionCheck): Promise<CheckOutcome>
  /** What of this app lives at the provider for the account, whoever made it. Absent: the provider cannot tell. */
  list?(request: Omit<SubscriptionQuestion, 'resource'>): Promise<ListingOutcome>
  /** How long the provider may take to push a change, in milliseconds: before that nothing counts as missed. */
  pushDelayMs(resource: string): number
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

export interface SubscriptionQuestion {
  readonly resource: string
  readonly accessToken: Secret
  readonly signal: AbortSignal
}

export type DiscoveryOutcome =
  | { readonly kind: 'found'; readonly wanted: readonly WantedSubscription[] }
  | { readonly kind: 'failed'; readonly failure: Failure }

export type ListingOutcome =
  | {
      readonly kind: 'listed'
      readonly items: readonly { readonly providerSubscriptionId: string; readonly notificationUrl: string }[]
    }
  | { readonly kind: 'failed'; readonly failure: Failure }

export interface SubscriptionCheck extends SubscriptionQuestion {
  /** As an earlier check answered it. */
  readonly cursor: string | undefined
}

export type CheckOutcome =
  /** @property changed whether anything changed after the cursor that was asked with; `cursor` is where it stands now. */
  | {
      readonly kind: 'checked'
      readonly changed: boolean
      readonly cursor: string
      /** When the newest change was made, by the provider's clock, where it says so. */
      readonly newestAt?: Date
      /** The cursor asked with was too old to be counted from: nothing is known of what happened since. */
      readonly lost?: true
    }
  | { readonly kind: 'failed'; readonly failure: Failure }

export interface SubscriptionRequest {
  readonly resource: string
  readonly accessToken: Secret
  /** `https://…/webhook/events/{provider}/{ref}`; unused by providers that push to one fixed place (Pub/Sub). */
  readonly notificationUrl: string
  readonly channelSecret: Secret
  /** Pushes carry the changed thing, encrypted; absent: they say only that something changed. */
  readonly encryption?: Encryption
  readonly signal: AbortSignal
}

export interface SubscriptionRenewal {
  readonly resource: string
  readonly providerSubscriptionId: string
  readonly accessToken: Secret
  /** What it granted last time: a provider that refuses more need not be asked for more again. */
  readonly grantedLifeMs: number | undefined
  /** Of one that was made so: the same certificate as before, or the one that takes its place. */
  readonly encryption?: Encryption
  readonly signal: AbortSignal
}

export type RenewalOutcome =
  | { readonly kind: 'renewed'; readonly expiresAt: Date }
  /** The provider does not know it any more: a new one has to be created. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'failed'; readonly failure: Failure }

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
