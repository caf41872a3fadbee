/**
 * Destinations: where deliveries go. Making one asks the egress guard first, draws its signing secret, seals it and
 * shows it once; deleting one turns its rules off and cancels what was on the way. It sends nothing.
 */
import { audit } from '../audit/audit.ts'
import type { Database, Db } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import type { KeyContext, Vault } from '../vault/vault.ts'
import {
  changeDestinationUrl,
  type DestinationRow,
  findDestinationByName,
  insertDestination,
  listDestinations,
  lockDestinationForDeletion,
  lockLocalDestination,
  markDestinationDeleted,
} from './destination-store.ts'
import type { Egress } from './egress.ts'
import type { RefusalReason } from './egress-failure.ts'
import { cancelDeliveriesOf, ensureToday } from './settle-store.ts'
import { newSigningSecret } from './signature.ts'

export type { DestinationRow } from './destination-store.ts'

/** What this room needs of routing. */
export interface RulesOfDestinations {
  disableFor(tx: Db, destinationId: string): Promise<void>
  ensureEverything(tx: Db, actor: string, destinationId: string): Promise<void>
  /** After the commit, so that this process matches with the change at once. */
  reload(): Promise<void>
}

export interface DestinationsNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly egress: Pick<Egress, 'check'>
  readonly rules: RulesOfDestinations
}

export interface NewDestination {
  readonly name: string
  readonly url: string
  readonly concurrency?: number | undefined
  readonly ratePerSecond?: number | undefined
  readonly timeoutMs?: number | undefined
}

export type DestinationCreation =
  /** `secret` is plain: this answer is the only one that ever carries it. */
  | {
      readonly kind: 'created'
      readonly id: string
      readonly name: string
      readonly url: string
      readonly secret: string
    }
  | { readonly kind: 'egress_refused'; readonly reason: RefusalReason }

export type LocalDestination =
  | { readonly kind: 'ready'; readonly id: string; readonly secret: string }
  | { readonly kind: 'egress_refused'; readonly reason: RefusalReason }

export interface Destinations {
  create(actor: string, destination: NewDestination): Promise<DestinationCreation>
  list(): Promise<readonly DestinationRow[]>
  /** @returns false when there is no such destination */
  remove(actor: string, id: string): Promise<boolean>
  /** Local mode's bundled receiver: one destination of that name with one rule, the same answer every time. */
  ensureLocal(url: string, name: string): Promise<LocalDestination>
}

export function openDestinations(needs: DestinationsNeeds): Destinations {
  return {
    async create(actor, destination) {
      const verdict = await needs.egress.check(destination.url)
      if (verdict.kind === 'refused') return { kind: 'egress_refused', reason: verdict.reason }
      const made = await needs.db.transaction((tx) =>
        insertSealed(needs.vault, tx, actor, { ...destination, url: verdict.url }),
      )
      return { kind: 'created', name: destination.name, url: verdict.url, ...made }
    },
    list: () => listDestinations(needs.db),
    async remove(actor, id) {
      await ensureToday(needs.db)
      const removed = await needs.db.transaction(async (tx) => {
        if (!(await lockDestinationForDeletion(tx, id))) return false
        await markDestinationDeleted(tx, id)
        await needs.rules.disableFor(tx, id)
        const cancelled = await cancelDeliveriesOf(tx, id)
        await audit(tx, { actor, action: 'destination.deleted', subject: id, detail: { cancelled } })
        return true
      })
      if (removed) await needs.rules.reload()
      return removed
    },
    ensureLocal: (url, name) => ensureLocal(needs, url, name),
  }
}

/** What a destination's secret is bound to in the vault; destinations belong to nobody. */
export function destinationContext(id: string): KeyContext {
  return { purpose: 'destinations', owner: '', row: id, provider: '' }
}

async function ensureLocal(needs: DestinationsNeeds, url: string, name: string): Promise<LocalDestination> {
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
      await changeDestinationUrl(tx, found.id, verdict.url)
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

async function insertSealed(
  vault: Vault,
  tx: Db,
  actor: string,
  destination: NewDestination,
): Promise<{ id: string; secret: string }> {
  const id = newId('dst')
  const context = destinationContext(id)
  const secret = newSigningSecret()
  const dataKey = vault.newDataKey(context)
  await insertDestination(tx, {
    id,
    name: destination.name,
    url: destination.url,
    data_key: dataKey,
    secret: vault.open(dataKey, context).seal('secret', secret),
    concurrency: destination.concurrency,
    rate_per_second: destination.ratePerSecond,
    timeout_ms: destination.timeoutMs,
  })
  // The host only: a path can be a secret of the receiver's (n8n's webhook URLs are).
  await audit(tx, {
    actor,
    action: 'destination.created',
    subject: id,
    detail: { name: destination.name, host: new URL(destination.url).host },
  })
  return { id, secret: secret.reveal() }
}
