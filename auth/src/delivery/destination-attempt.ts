/**
 * What one attempt needs of its destination, opened: where to, with which headers, signed by which secrets, and what to
 * take out of the answer. The row is read anew for each attempt, so a change counts from the next one on; what the same
 * sealed row opens to is kept for seconds, because opening costs more than sending.
 */
import type { KeyObject } from 'node:crypto'
import { Secret } from '@flovify/providers'
import type { KeyContext, Vault } from '../vault/vault.ts'
import type { SealedForAttempt } from './destination-store.ts'
import { type Redact, redactor } from './redact.ts'
import { signingKey } from './signature.ts'

export interface DestinationForAttempt {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Newest first; the second one only while it is being replaced. */
  readonly keys: readonly KeyObject[]
  readonly timeoutMs: number
  /** Undefined: the default plan. */
  readonly retryStepsMs: readonly number[] | undefined
  /** Whether an answer of this status is worth another try. */
  readonly retries: (status: number) => boolean
  readonly ca: string | undefined
  readonly redact: Redact
}

/** What a destination's secrets are bound to in the vault; destinations belong to nobody. */
export function destinationContext(id: string): KeyContext {
  return { purpose: 'destinations', owner: '', row: id, provider: '' }
}

/** @throws VaultIntegrityError, KeyRingError: the caller decides what a secret that cannot be opened costs */
export function openForAttempt(vault: Vault, id: string, row: SealedForAttempt): DestinationForAttempt {
  const key = vault.open(row.data_key, destinationContext(id))
  const headers =
    row.headers === null
      ? {}
      : (JSON.parse(key.unseal('headers', row.headers).reveal()) as Record<string, string>)
  const secrets = [
    key.unseal('secret', row.secret),
    ...(row.previous_secret === null ? [] : [key.unseal('previous_secret', row.previous_secret)]),
  ]
  const statuses = row.retry_statuses
  return {
    url: row.url,
    headers,
    keys: secrets.map(signingKey),
    timeoutMs: row.timeout_ms,
    retryStepsMs: row.retry_schedule?.map((seconds) => seconds * 1_000),
    retries: (status) => statuses === null || statuses.includes(status),
    ca: row.ca ?? undefined,
    redact: redactor([...secrets, ...Object.values(headers).map((value) => new Secret(value))]),
  }
}

export type OpenForAttempt = (id: string, row: SealedForAttempt) => DestinationForAttempt

const KEPT_MS = 5_000
const KEPT = 256

/** Opens a row that is sealed as it was seconds ago without asking the vault again. A failure is never kept. */
export function openRemembered(vault: Vault, monotonicMs: () => number): OpenForAttempt {
  const kept = new Map<string, { row: SealedForAttempt; opened: DestinationForAttempt; until: number }>()
  return (id, row) => {
    const known = kept.get(id)
    if (known !== undefined && known.until > monotonicMs() && isSame(known.row, row)) return known.opened
    const opened = openForAttempt(vault, id, row)
    if (kept.size >= KEPT) kept.clear()
    kept.set(id, { row, opened, until: monotonicMs() + KEPT_MS })
    return opened
  }
}

function isSame(a: SealedForAttempt, b: SealedForAttempt): boolean {
  if (a === b) return true
  return (
    a.secret === b.secret &&
    a.previous_secret === b.previous_secret &&
    a.data_key === b.data_key &&
    a.headers === b.headers &&
    a.url === b.url &&
    a.timeout_ms === b.timeout_ms &&
    a.ca === b.ca &&
    String(a.retry_schedule) === String(b.retry_schedule) &&
    String(a.retry_statuses) === String(b.retry_statuses) &&
    (a.retry_schedule === null) === (b.retry_schedule === null) &&
    (a.retry_statuses === null) === (b.retry_statuses === null)
  )
}
