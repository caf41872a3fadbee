/**
 * The shapes that cross the internal API as JSON. Times are ISO 8601 strings in UTC; ids are prefixed.
 * Pure types: nothing here runs.
 */

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
  scopes: { scope: string; sentence: string; default: boolean }[]
}

export type ConnectionStatus =
  | 'active' | 'partial' | 'reauth_required' | 'admin_required' | 'revoking' | 'revoked' | 'vault_error'

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
}

export interface SubscriptionView {
  id: string
  kind: string
  resource: string
  state: 'wanted' | 'active' | 'failed' | 'stopped'
  expires_at: string | null
  last_notification_at: string | null
  failure_code: string | null
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
}

/** Every error of every API has this body. `message` says what to do; it never repeats input. */
export interface ErrorBody {
  error: string
  message: string
}
