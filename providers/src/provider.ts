/**
 * The contract of a provider: what Microsoft, Google or any other has to say for itself so that the service can
 * connect accounts, subscribe, and judge what arrives. Read this first.
 *
 * A provider asks only for `fetch`, a clock and its own settings. It never touches a database, a server or the
 * environment, never logs, and never keeps a token. Every outcome that can be expected is a value with a `kind`.
 */
import type { Secret } from './secret.ts'

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
  readonly oauth: ProviderOAuth
  readonly webhook: ProviderWebhook
  readonly subscriptions: ProviderSubscriptions
}

// ---- OAuth -------------------------------------------------------------------------------------------------------

export interface ScopeDescription {
  readonly scope: string
  /** A sentence for people: "Read your mail." */
  readonly sentence: string
}

export interface ProviderOAuth {
  /** The value of RFC 9207 `iss` to store with the flow and to compare with. */
  readonly issuer: string
  readonly responseMode: 'query' | 'form_post'
  readonly defaultScopes: readonly string[]
  readonly scopes: readonly ScopeDescription[]
  /** RFC 6749 §4.1.1 with PKCE S256 (RFC 7636) and OpenID Connect nonce. Pure. */
  authorizationUrl(request: AuthorizationRequest): URL
  /** RFC 9207: `wrong` also when it is absent although this provider's metadata declares it. */
  judgeIssuer(presented: string | undefined): 'ok' | 'wrong'
  /** Maps the `error` of an authorization response to one of our own fixed reasons; never passes text through. */
  reasonOf(error: string): AuthorizationFailureReason
  /** Redeems the code once: token request, id token checked (signature, iss, aud, exp, nonce), account identified. */
  exchange(request: CodeExchange): Promise<ExchangeOutcome>
  /** RFC 6749 §6. */
  refresh(request: TokenRefresh): Promise<RefreshOutcome>
}

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

// ---- Notifications -----------------------------------------------------------------------------------------------

/** One HTTP request from outside, byte for byte. Header names are lower-case; every occurrence is kept. */
export interface NotificationRequest {
  readonly method: string
  /** The path segment behind the provider, if any: `/webhook/events/{provider}/{ref}`. */
  readonly ref: string | undefined
  readonly query: readonly (readonly [string, string])[]
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: Buffer
}

/** A subscription of ours that a notification proved to belong to. */
export interface KnownSubscription {
  readonly id: string
  readonly connectionId: string
  /** Empty until the provider's answer to our create call is stored. */
  readonly providerSubscriptionId: string | undefined
  /** Account of the connection, as in `Account.key`. */
  readonly accountKey: string
  readonly tenant: string | undefined
}

/** What a provider may look up while it judges. The first function does no I/O; the others are cached and bounded. */
export interface Lookup {
  /** Checks the MAC of a `ref`. @returns our subscription id, or undefined for a forgery. */
  genuineRef(ref: string): string | undefined
  /** Checks the MAC of a clientState or channel token, then finds the one subscription whose stored hash it matches. */
  byChannelSecret(presented: string): Promise<KnownSubscription | undefined>
  /** Connections of this provider whose `Account.address` equals `address` (lower-case) and that are subscribed. */
  byAddress(
    address: string,
  ): Promise<readonly { readonly connectionId: string; readonly subscriptionId: string }[]>
}

export interface ProviderWebhook {
  /** Whether GET is served too (Dropbox). */
  readonly methods: readonly ('GET' | 'POST')[]
  /** Largest body in bytes; larger is 413. */
  readonly bodyLimitBytes: number
  /** Total: every request ends in a verdict; without a secret it is `rejected`. Never throws for anything in the request. */
  judge(request: NotificationRequest, lookup: Lookup): Promise<Verdict>
}

export type Verdict =
  /** A request that only proves that we own the URL. The answer is text/plain. */
  | { readonly kind: 'handshake'; readonly body: string }
  /** Not genuine. The reason is counted, never told. `status` is what this provider needs (Graph items: 202). */
  | { readonly kind: 'rejected'; readonly status: number; readonly reason: RejectionReason }
  /** Cannot be judged now (keys unreachable): 503, so that the provider repeats it. */
  | { readonly kind: 'unavailable'; readonly reason: string }
  /** Genuine, wholly or in part. `status` is sent after the commit. */
  | {
      readonly kind: 'verified'
      readonly status: number
      /** JSON body of the answer, e.g. `{"status":"ok"}`; absent: empty body. */
      readonly answer?: string
      readonly facts: readonly Fact[]
      /** Items of the same request that were not genuine; counted. */
      readonly rejected: readonly RejectionReason[]
    }

/** A fixed word, used as a metric label: `bad_ref`, `bad_client_state`, `no_token`, `wrong_audience`, `bad_body` … */
export type RejectionReason = string

/** One thing that a genuine notification says. */
export interface Fact {
  /** Absent only for relays: an event without a connection. */
  readonly connectionId: string | undefined
  readonly subscriptionId: string | undefined
  /** Type without prefix: `mail.mailbox.v1.notified`. */
  readonly type: string
  /** The provider's own type: `Microsoft.Graph.MessageCreated`. */
  readonly originType: string
  /** CloudEvents subject: `messages/<id>`; absent when the provider names none. */
  readonly subject: string | undefined
  /** The provider's own identity of this item, for exact dedupe. Absent: always new. */
  readonly identity: string | undefined
  /** Provider time of the change, if it names one. */
  readonly time: Date | undefined
  /** CloudEvents `data`; no token, no clientState. Plain JSON. */
  readonly data: JsonObject
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

// ---- Subscriptions -----------------------------------------------------------------------------------------------

export interface ProviderSubscriptions {
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
