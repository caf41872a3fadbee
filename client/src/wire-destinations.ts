/** Destinations as administrators see and change them. Values of headers only go in. Times are ISO 8601 in UTC. Types only. */

export type DestinationKind = 'http' | 'n8n'

export interface DestinationView {
  id: string
  kind: DestinationKind
  name: string
  url: string
  /** n8n: the URL that listens while somebody tests a workflow. */
  test_url: string | null
  header_names: string[]
  concurrency: number
  rate_per_second: number | null
  timeout_ms: number
  /** Seconds before try 2, 3, …; null: the default plan. */
  retry_schedule: number[] | null
  /** Statuses worth another try; null: all that are not 2xx. */
  retry_statuses: number[] | null
  /** Certificate authorities in PEM for this destination alone. */
  ca: string | null
  state: 'active' | 'paused' | 'disabled'
  paused_at: string | null
  disabled_at: string | null
  disabled_reason: string | null
  /** While set, the secret before the newest signs too. */
  previous_secret_until: string | null
  created_at: string
}

/** Left out: the default, or unchanged. null: back to the default. */
export interface DestinationChange {
  kind?: DestinationKind
  name?: string
  url?: string
  /** n8n only. null, or never given: it follows from `url` by n8n's own naming, also when that changes. */
  test_url?: string | null
  /** All of them anew; needed where some are stored and an address gets another host, port or scheme (422 `headers_needed`). */
  headers?: Record<string, string>
  concurrency?: number
  rate_per_second?: number | null
  timeout_ms?: number
  retry_schedule?: number[] | null
  retry_statuses?: number[] | null
  ca?: string | null
}

export interface NewDestination extends DestinationChange {
  name: string
  url: string
}

export interface CreatedDestination {
  id: string
  name: string
  url: string
  /** `whsec_…`: shown this once. */
  secret: string
}

export interface SecretRotation {
  /** For how long both sign; a day when left out. */
  overlap_seconds?: number
  /** Also while an earlier rotation overlaps. */
  replace_running?: boolean
}

export interface RotatedSecret {
  /** Shown this once. */
  secret: string
  previous_secret_until: string | null
}

export interface DestinationTest {
  delivered: boolean
  event_id: string
  status: number | null
  error: string | null
  /** For people: what the answer means and what to do. */
  explanation: string
  /** Milliseconds. */
  phases: { lookupMs?: number; connectMs?: number; tlsMs?: number; firstByteMs?: number; totalMs: number }
  headers: Record<string, string | string[]>
  body: string
}
