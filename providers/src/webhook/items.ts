/** The verdict over a request whose items were judged one by one. */
import type { Fact, RejectionReason, Verdict } from '../provider.ts'

/** What anybody could have written. What carries a secret of ours may be late or strange, but is its provider's own. */
const FORGERIES: ReadonlySet<RejectionReason> = new Set(['bad_item', 'bad_client_state'])

/** @param status of the answer, also where nothing was genuine: an enemy learns nothing */
export function verdictOfItems(
  status: number,
  facts: readonly Fact[],
  reasons: readonly RejectionReason[],
): Verdict {
  const forged = reasons.filter((reason) => FORGERIES.has(reason)).length
  if (facts.length > 0) return { kind: 'verified', status, facts, rejected: reasons, forged }
  const [reason, ...others] = reasons
  return reason === undefined
    ? { kind: 'rejected', status, reason: 'no_items' }
    : { kind: 'rejected', status, reason, others, forged }
}
