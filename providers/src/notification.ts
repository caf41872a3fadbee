/**
 * The half of the provider contract that is about what arrives: a request from outside, what may be looked up while it
 * is judged, and the verdict. Types only.
 */
import type { KeyObject } from 'node:crypto'

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
  /** What it watches, as it was created. */
  readonly resource: string
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
  /** Checks the MAC alone: made by us, although no live subscription may have it. */
  genuineChannelSecret(presented: string): boolean
  /** The private half of a certificate that was given to the provider for this subscription of ours, and for no other. */
  privateKey(subscriptionId: string, certificateId: string): Promise<PrivateKeyReading>
  /** Connections of this provider whose `Account.address` equals `address` (lower-case) and that are subscribed to `resource`. */
  byAddress(
    address: string,
    resource: string,
  ): Promise<readonly { readonly connectionId: string; readonly subscriptionId: string }[]>
}

export type PrivateKeyReading =
  | { readonly kind: 'key'; readonly key: KeyObject }
  /** Never given out, of another subscription, or dropped long after it was replaced. */
  | { readonly kind: 'unknown' }
  /** It is there and cannot be opened: ours to repair. */
  | { readonly kind: 'unusable' }

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
  | {
      readonly kind: 'rejected'
      readonly status: number
      readonly reason: RejectionReason
      /** Of further items of the same request. */
      readonly others?: readonly RejectionReason[]
      /** What its sender pays for: things in it that anybody could have made. Absent: 1. */
      readonly forged?: number
      /** Ours by its MACs, but nobody's any more: it has to be ended at the provider. */
      readonly orphan?: Orphan
    }
  /** Cannot be judged now (keys unreachable): 503, so that the provider repeats it. */
  | {
      readonly kind: 'unavailable'
      readonly reason: string
      /** What it would be rejected for; counted, or nobody would see it where it never can be judged. */
      readonly rejected?: readonly RejectionReason[]
    }
  /** Genuine, and about accounts instead of their content. `status` is sent after the commit. */
  | { readonly kind: 'signals'; readonly status: number; readonly signals: readonly AccountSignal[] }
  /** Genuine, wholly or in part. `status` is sent after the commit. */
  | {
      readonly kind: 'verified'
      readonly status: number
      /** JSON body of the answer, e.g. `{"status":"ok"}`; absent: empty body. */
      readonly answer?: string
      readonly facts: readonly Fact[]
      /** Items of the same request that were not genuine, or of no use here; counted. */
      readonly rejected: readonly RejectionReason[]
      /** As above. Absent: 0. */
      readonly forged?: number
    }

/**
 * A subscription at the provider that we made and do not know: its create call was answered to nobody, or the database
 * was restored to a time before it.
 */
export interface Orphan {
  /** Ours, by the authentic `ref`. */
  readonly subscriptionId: string
  readonly providerSubscriptionId: string
  /** How the provider's ids of other subscriptions to the same resource end; absent: an id does not tell. */
  readonly idsEnd?: string
}

/** What the provider itself says about an account. */
export type SignalKind =
  /** The user withdrew everything. */
  | 'tokens_revoked'
  /** One token of several; it is found out when it is used. */
  | 'token_revoked'
  | 'sessions_revoked'
  | 'account_disabled'
  | 'account_enabled'
  | 'credential_change_required'
  /** A test of the operator's own. */
  | 'verification'

export interface AccountSignal {
  /** The provider's own id of it: said twice is said once. */
  readonly id: string
  readonly kind: SignalKind
  /** As in `Account.key`; undefined for a verification. */
  readonly accountKey: string | undefined
  /** The provider's own word for why, for the log. */
  readonly detail: string | undefined
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
  /** Why the content that came with it could not be read; a fixed word, counted. The fact stands without it. */
  readonly unreadable?: string
  /** CloudEvents `data`; no token, no clientState. Plain JSON. */
  readonly data: JsonObject
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }
