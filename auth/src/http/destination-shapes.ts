/** What destinations look like in the internal API: the schemas of requests and answers. Values of headers only come in. */
import { type Static, Type } from 'typebox'
import type { DestinationRow } from '../delivery/destinations.ts'

const Null = Type.Null()
const OrNull = <T extends ReturnType<typeof Type.Integer> | ReturnType<typeof Type.String>>(type: T) =>
  Type.Union([type, Null])

/** No control characters: PostgreSQL's text cannot hold a NUL, and a name is shown in one line. */
export const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]+$' })
export const Url = Type.String({ minLength: 1, maxLength: 2048, pattern: '^[^\\u0000]+$' })
export const Problem = Type.Object({ error: Type.String(), message: Type.String() })
/** `mistakes`: one sentence for each. */
export const Refusal = Type.Object({
  error: Type.String(),
  message: Type.String(),
  mistakes: Type.Optional(Type.Array(Type.String())),
})

const settings = {
  kind: Type.Optional(Type.Union([Type.Literal('http'), Type.Literal('n8n')])),
  test_url: Type.Optional(Type.Union([Url, Null])),
  headers: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 8192 }))),
  concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  rate_per_second: Type.Optional(OrNull(Type.Integer({ minimum: 1, maximum: 100_000 }))),
  timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 30_000 })),
  retry_schedule: Type.Optional(Type.Union([Type.Array(Type.Integer(), { maxItems: 20 }), Null])),
  retry_statuses: Type.Optional(Type.Union([Type.Array(Type.Integer(), { maxItems: 100 }), Null])),
  ca: Type.Optional(Type.Union([Type.String({ maxLength: 65_536, pattern: '^[^\\u0000]*$' }), Null])),
}

export const NewDestinationBody = Type.Object(
  { name: Name, url: Url, ...settings },
  { additionalProperties: false },
)
export const ChangeBody = Type.Object(
  { name: Type.Optional(Name), url: Type.Optional(Url), ...settings },
  { additionalProperties: false, minProperties: 1 },
)

const Text = Type.Union([Type.String(), Null])
export const Destination = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  name: Type.String(),
  url: Type.String(),
  test_url: Text,
  header_names: Type.Array(Type.String()),
  concurrency: Type.Integer(),
  rate_per_second: Type.Union([Type.Integer(), Null]),
  timeout_ms: Type.Integer(),
  retry_schedule: Type.Union([Type.Array(Type.Integer()), Null]),
  retry_statuses: Type.Union([Type.Array(Type.Integer()), Null]),
  /** Certificates are public; shown so that an operator sees which authority is trusted. */
  ca: Text,
  state: Type.Union([Type.Literal('active'), Type.Literal('paused'), Type.Literal('disabled')]),
  paused_at: Text,
  disabled_at: Text,
  disabled_reason: Text,
  previous_secret_until: Text,
  created_at: Type.String(),
})

export function destinationView(row: DestinationRow): Static<typeof Destination> {
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    url: row.url,
    test_url: row.test_url,
    header_names: [...row.header_names],
    concurrency: row.concurrency,
    rate_per_second: row.rate_per_second,
    timeout_ms: row.timeout_ms,
    retry_schedule: row.retry_schedule === null ? null : [...row.retry_schedule],
    retry_statuses: row.retry_statuses === null ? null : [...row.retry_statuses],
    ca: row.ca,
    state: row.disabled_at !== null ? 'disabled' : row.paused ? 'paused' : 'active',
    paused_at: row.paused_at?.toISOString() ?? null,
    disabled_at: row.disabled_at?.toISOString() ?? null,
    disabled_reason: row.disabled_reason,
    previous_secret_until: row.previous_secret_until?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  }
}

/** The body of a request in the room's own words. */
export function valuesOf(body: Static<typeof ChangeBody>) {
  return {
    kind: body.kind,
    name: body.name,
    url: body.url,
    testUrl: body.test_url,
    headers: body.headers,
    concurrency: body.concurrency,
    ratePerSecond: body.rate_per_second,
    timeoutMs: body.timeout_ms,
    retrySchedule: body.retry_schedule,
    retryStatuses: body.retry_statuses,
    ca: body.ca,
  }
}
