/**
 * What one attempt needs of its destination, opened: where to, with which headers, signed by which secrets, and what to
 * take out of the answer. Read anew for each attempt, so a change counts from the next one on. It keeps nothing.
 */
import { Secret } from '@flovify/providers'
import type { KeyContext, Vault } from '../vault/vault.ts'
import type { SealedForAttempt } from './destination-store.ts'
import { type Redact, redactor } from './redact.ts'

export interface DestinationForAttempt {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Newest first; the second one only while it is being replaced. */
  readonly secrets: readonly Secret[]
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
    secrets,
    timeoutMs: row.timeout_ms,
    retryStepsMs: row.retry_schedule?.map((seconds) => seconds * 1_000),
    retries: (status) => statuses === null || statuses.includes(status),
    ca: row.ca ?? undefined,
    redact: redactor([...secrets, ...Object.values(headers).map((value) => new Secret(value))]),
  }
}
