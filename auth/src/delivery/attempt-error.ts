/**
 * Why an attempt failed, as it is stored and told: our own fixed words. What the egress guard refused is stored with what
 * it refused, because what to do about it differs. The console has a sentence for each.
 */
import type { FailureCode, RefusalReason } from './egress-failure.ts'

export type AttemptError =
  /** No answer came. */
  | FailureCode
  /** Nothing was sent. */
  | `egress_${RefusalReason}`
  | 'vault_error'
  /** An answer came. */
  | 'redirect'
  | `status_${number}`
