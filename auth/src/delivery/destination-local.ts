/** Local mode's bundled receiver as a destination with one rule for everything: the same answer every time. */
import { audit } from '../audit/audit.ts'
import { destinationContext } from './destination-attempt.ts'
import type { Saving } from './destination-change.ts'
import { insertSealed } from './destination-create.ts'
import { findDestinationByName, lockLocalDestination, setDestinationColumns } from './destination-store.ts'
import type { RulesOfDestinations } from './destinations.ts'
import type { RefusalReason } from './egress-failure.ts'

export type LocalDestination =
  | { readonly kind: 'ready'; readonly id: string; readonly secret: string }
  | { readonly kind: 'egress_refused'; readonly reason: RefusalReason }

export async function ensureLocal(
  needs: Saving & { readonly rules: Pick<RulesOfDestinations, 'ensureEverything' | 'reload'> },
  url: string,
  name: string,
): Promise<LocalDestination> {
  const actor = 'system'
  const verdict = await needs.egress.check(url)
  if (verdict.kind === 'refused') return { kind: 'egress_refused', reason: verdict.reason }
  const ready = await needs.db.transaction(async (tx) => {
    await lockLocalDestination(tx)
    const found = await findDestinationByName(tx, name)
    if (found === undefined) {
      const made = await insertSealed(needs.vault, tx, actor, { name, url: verdict.url })
      await needs.rules.ensureEverything(tx, actor, made.id)
      return made
    }
    if (found.url !== verdict.url) {
      await setDestinationColumns(tx, found.id, { url: verdict.url })
      await audit(tx, { actor, action: 'destination.url_changed', subject: found.id })
    }
    await needs.rules.ensureEverything(tx, actor, found.id)
    const secret = needs.vault
      .open(found.data_key, destinationContext(found.id))
      .unseal('secret', found.secret)
    return { id: found.id, secret: secret.reveal() }
  })
  await needs.rules.reload()
  return { kind: 'ready', ...ready }
}
