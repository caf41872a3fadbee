/**
 * Deliveries as administrators see them, dead letters, and the health of a destination, as they go over the wire.
 * Times are ISO 8601 in UTC. Types only.
 */

export type DeliveryStateName = 'open' | 'delivered' | 'dead' | 'cancelled' | 'expired'

/** `scheduled`: not due yet; `throttled`: due, and behind others or held by `Retry-After`; the rest: its destination takes nothing. */
export type DeliveryWaiting = 'sending' | 'scheduled' | 'throttled' | 'paused' | 'disabled' | 'breaker_open'

export interface DeliveryQuery {
  /** At most 100. */
  limit?: number
  /** From `next_cursor`. */
  cursor?: string
  /** `paused`: open, at a destination that takes nothing now; `throttled`: due and not yet claimed. */
  state?: DeliveryStateName | 'paused' | 'throttled'
  destination?: string
  event?: string
  /** Of `at`, both included: `2026-01-31T12:00:00Z`. */
  from?: string
  to?: string
}

export interface ListedDelivery {
  id: string
  event_id: string
  destination_id: string
  destination_name: string
  rule_id: string
  state: DeliveryStateName
  /** Why it died or ended: `exhausted`, `rejected`, `poison`, `destination_deleted`, `event_gone`, `retention`. */
  reason: string | null
  /** Of an open one: why it does not go now. */
  waiting: DeliveryWaiting | null
  attempts: number
  created_at: string
  /** When it finished, died, or is due. */
  at: string
}

export interface AttemptDetail {
  number: number
  started_at: string
  duration_ms: number
  outcome: 'delivered' | 'failed'
  status: number | null
  /**
   * Null when it was delivered. `status_…` or `redirect` with a status; without one `egress_…` (refused here, and why),
   * `vault_error`, or how the connection failed (`timeout`, `tls`, …).
   */
  error: string | null
  /** The rest for administrators only. Milliseconds of each phase that was reached. */
  phases?: Record<string, number> | null
  response_headers?: Record<string, string | string[]> | null
  /** At most 4 KiB, redacted. Shown as text, never parsed into markup. */
  response_body?: string | null
}

export interface DeliveryDetail {
  id: string
  event_id: string
  /** False when its event is older than what is kept: then only administrators see the delivery. */
  event_kept: boolean
  destination_id: string
  destination_name: string
  state: DeliveryStateName
  reason: string | null
  due_at: string | null
  /** Of an open one: why it does not go now. */
  waiting: DeliveryWaiting | null
  /** Of an open one: until when the receiver asked to be left alone (`Retry-After`). */
  held_until: string | null
  /** Of an open one: when the open breaker of its destination lets a single delivery go. */
  probe_at: string | null
  finished_at: string | null
  attempts: AttemptDetail[]
}

export interface RetriedDelivery {
  id: string
  state: 'open'
  /** False when it had been retried before: a double click is one retry. */
  retried: boolean
}

export interface DeadRetryRequest {
  /** As counted before; another number is refused with 409 `count_changed`. */
  expected_count: number
  /** The caller's own, 8 to 64 of `A-Za-z0-9_-`: the same key is the same retry, for thirty days. */
  idempotency_key: string
}

export interface DeadRetry {
  id: string
  expected: number
  released: number
  running: boolean
}

export interface HealthCounts {
  delivered: number
  failed: number
  p50_ms: number | null
  p95_ms: number | null
}

export interface DestinationHealth {
  destination_id: string
  state: 'active' | 'failing' | 'paused' | 'disabled'
  /** `gone`: it answered 410; `failing`: five days without a success. */
  disabled_reason: string | null
  breaker: 'closed' | 'open'
  /** Of an open breaker: when the next single delivery is tried. */
  probe_at: string | null
  /** Until when the receiver asked to be left alone (`Retry-After`); null when that is over. */
  held_until: string | null
  failing_since: string | null
  open: number
  due: number
  in_flight: number
  dead: number
  oldest_due_seconds: number
  last_hour: HealthCounts & { /** Sixty, oldest first. */ minutes: (HealthCounts & { at: string })[] }
}
