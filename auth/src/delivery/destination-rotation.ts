/**
 * A new signing secret for a destination. For a while both sign each delivery, so that the receiver can change over
 * without losing one; then the earlier one is gone. Standard Webhooks: several signatures, separated by spaces.
 */
import { audit } from '../audit/audit.ts'
import { destinationContext } from './destination-attempt.ts'
import type { Saving } from './destination-change.ts'
import { findDestination, lockDestination, setSecret } from './destination-store.ts'
import { newSigningSecret } from './signature.ts'

export type Rotation =
  /** `secret` is plain: this answer is the only one that ever carries it. */
  | { readonly kind: 'rotated'; readonly secret: string; readonly previousUntil: Date | null }
  /** A double click must not throw away the secret that the receiver still checks with. */
  | { readonly kind: 'still_overlapping'; readonly until: Date }
  | { readonly kind: 'unknown' }

export function rotateSecret(
  needs: Saving,
  actor: string,
  id: string,
  rotation: { readonly overlapSeconds: number; readonly replaceRunning: boolean },
): Promise<Rotation> {
  return needs.db.transaction(async (tx) => {
    const locked = await lockDestination(tx, id)
    if (locked === undefined) return { kind: 'unknown' }
    const running = (await findDestination(tx, id))?.previous_secret_until ?? null
    if (running !== null && !rotation.replaceRunning) return { kind: 'still_overlapping', until: running }
    const key = needs.vault.open(locked.data_key, destinationContext(id))
    const secret = newSigningSecret()
    const previousUntil = await setSecret(
      tx,
      id,
      {
        secret: key.seal('secret', secret),
        // bound to its column: what was sealed as the one cannot be read as the other
        previous: key.seal('previous_secret', key.unseal('secret', locked.secret)),
      },
      rotation.overlapSeconds,
    )
    await audit(tx, {
      actor,
      action: 'destination.secret_rotated',
      subject: id,
      detail: { overlap_seconds: rotation.overlapSeconds },
    })
    return { kind: 'rotated', secret: secret.reveal(), previousUntil }
  })
}
