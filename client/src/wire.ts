/**
 * The shapes that cross the internal API as JSON. Times are ISO 8601 strings in UTC; ids are prefixed.
 * Pure types: nothing here runs.
 */

import type { DeliveryWaiting } from './wire-deliveries.ts'

export type * from './wire-deliveries.ts'
export type * from './wire-destinations.ts'

export type Role = 'user' | 'admin'

export interface SessionView {
  user_id: string
  email: string
  name: string | null
  role: Role
  /** Never leaves the BFF: the flow binding is derived from it. */
  family_id: string
  expires_at: string
}

export interface ProviderView {
  id: string
  label: string
  /** Whether an administrator can agree for an organisation. */
  admin_consent: boolean
  scopes: ScopeView[]
}

export interface ScopeView {
  scope: string
  /** For people. */
  sentence: string
  default: boolean
  restriction: 'sensitive' | 'restricted' | 'admin_consent' | null
}

export type ConnectionStatus =
  | 'active'
  | 'partial'
  | 'reauth_required'
  | 'admin_required'
  | 'revoking'
  | 'revoked'
  | 'vault_error'

export interface ConnectionView {
  id: string
  provider: string
  account_label: string
  status: ConnectionStatus
  status_reason: string | null
  scopes_granted: string[]
  scopes_missing: string[]
  user_id: string | null
  created_at: string
  updated_at: string
  subscriptions: SubscriptionView[]
  at_disconnect: AtProvider
}

/** What a disconnect does, or did, at the provider. */
export interface AtProvider {
  kind: 'revoked_by_us' | 'shared_with_other_connection' | 'withdraw_yourself'
  /** Where a person sees and withdraws the consent himself. */
  url: string | null
}

export interface Disconnected {
  /** `revoking` while something is still to be done at the provider. */
  status: 'revoking' | 'revoked'
  at_provider: AtProvider
}

export interface SubscriptionView {
  id: string
  kind: string
  resource: string
  state: 'wanted' | 'active' | 'failed' | 'stopped'
  /** Since when it is watched. */
  created_at: string
  expires_at: string | null
  last_notification_at: string | null
  failure_code: string | null
  last_renewed_at: string | null
  /** Of an active one: when it is renewed next. */
  renews_at: string | null
  /** Why the newest renewal failed. */
  renewal_failure_code: string | null
  /** Not switched off by somebody. */
  enabled: boolean
  /** When the provider was last asked whether something was not pushed. */
  last_checked_at: string | null
  next_check_at: string | null
  /** Checks that found changes that were not pushed, and the newest of them. */
  missed: number
  missed_at: string | null
  /** Its own interval of checks; null: as the setting says. */
  check_minutes: number | null
  /** The newest ones of thirty days, newest first: when nothing, or not everything, was pushed. */
  gaps: SubscriptionGap[]
}

/** @property check_minutes null: as the setting says */
export interface SubscriptionChoice {
  enabled?: boolean
  check_minutes?: number | null
}

export interface SubscriptionGap {
  reason: 'expired' | 'removed' | 'missed' | 'replaced'
  from: string
  /** null: it lasts. */
  to: string | null
}

export interface EventView {
  id: string
  type: string
  provider: string | null
  origin_type: string | null
  subject: string | null
  source: string
  connection_id: string | null
  account_label: string | null
  time: string | null
  received_at: string
  recorded_at: string
  deliveries: DeliveryView[]
}

export interface DeliveryView {
  id: string
  destination_id: string
  destination_name: string
  state: 'open' | 'delivered' | 'dead' | 'cancelled' | 'expired'
  reason: string | null
  due_at: string | null
  finished_at: string | null
  /** Of an open one: why it does not go now. */
  waiting: DeliveryWaiting | null
  /** Of an open one: until when the receiver asked to be left alone (`Retry-After`). */
  held_until: string | null
  /** Of an open one: when the open breaker of its destination lets a single delivery go. */
  probe_at: string | null
  attempts: AttemptView[]
}

export interface AttemptView {
  number: number
  started_at: string
  duration_ms: number
  outcome: 'delivered' | 'failed'
  status: number | null
  error: string | null
}

export interface EventDetail extends EventView {
  /** The CloudEvent as it is delivered, as text: shown as text, never parsed into markup. */
  payload: string
}

export interface Page<T> {
  items: T[]
  /** Opaque; absent on the last page. */
  next_cursor?: string
  /** Of a list that grows: for `after`, to ask for what is newer than this answer. */
  head_cursor?: string
}

/** Every error of every API has this body. `message` says what to do; it never repeats input. */
export interface ErrorBody {
  error: string
  message: string
}

export interface TokenView {
  access_token: string
  /** May be sooner than asked while the provider is down. */
  expires_at: string
  scopes: string[]
}

// ---- Requests and answers of the internal API that are not views ---------------------------------------------------

export interface SigninLink {
  /** 256 random bits, base64url: the fragment of `/signin#…`. Works once, for ten minutes. */
  token: string
  expires_at: string
}

/** Exactly one of the two proofs. */
export type SessionProof = { signin_token: string } | { platform_jwt: string }

export interface NewSession {
  session_token: string
  session: SessionView
}

export interface EventQuery {
  limit?: number
  /** From `next_cursor`: older events. */
  cursor?: string
  /** An event id, or `head_cursor` of an earlier answer: only newer events. */
  after?: string
}

export interface RuleView {
  id: string
  name: string
  destination_id: string
  types: string[]
  providers: string[]
  connections: string[]
}

export interface NewRule {
  name: string
  destination_id: string
  types?: string[]
  providers?: string[]
  connections?: string[]
}

export interface LocalDestination {
  id: string
  secret: string
}
