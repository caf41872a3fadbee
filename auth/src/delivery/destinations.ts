/**
 * Destinations: where deliveries go. Making or changing one asks the egress guard first; its signing secret is drawn,
 * sealed and shown once; deleting one turns its rules off and cancels what was on the way. Every change is audited,
 * without secrets. It sends nothing.
 */
import { audit } from '../audit/audit.ts'
import type { Database, Db } from '../db/sql.ts'
import type { Vault } from '../vault/vault.ts'
import { CANCELLED_AT_ONCE } from './cancel.ts'
import { cancelDeliveriesOf, countDeliveriesOf } from './cancel-store.ts'
import { type ChangeOutcome, changeDestination, type Saving } from './destination-change.ts'
import { type Creation, createDestination } from './destination-create.ts'
import { ensureLocal, type LocalDestination } from './destination-local.ts'
import { type Rotation, rotateSecret } from './destination-rotation.ts'
import {
  type DestinationRow,
  findDestination,
  listDestinations,
  lockDestination,
  lockDestinationForDeletion,
  markDestinationDeleted,
  pauseDestination,
  resumeDestination,
} from './destination-store.ts'
import type { DestinationValues } from './destination-values.ts'
import type { Egress } from './egress.ts'
import { ensureToday } from './settle-store.ts'

export { destinationContext } from './destination-attempt.ts'
export type { ChangeOutcome } from './destination-change.ts'
export type { Creation } from './destination-create.ts'
export type { Rotation } from './destination-rotation.ts'
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

export interface NewDestination extends DestinationValues {
  readonly name: string
  readonly url: string
}

export interface Destinations {
  create(actor: string, destination: NewDestination): Promise<Creation>
  list(): Promise<readonly DestinationRow[]>
  find(id: string): Promise<DestinationRow | undefined>
  /** Says only what is to be changed. */
  change(actor: string, id: string, values: DestinationValues): Promise<ChangeOutcome>
  /** Holds its deliveries; nothing is lost. @returns undefined when there is no such destination */
  pause(actor: string, id: string): Promise<DestinationRow | undefined>
  /** Ends a pause, or takes a disabled one into use again. */
  resume(actor: string, id: string): Promise<DestinationRow | undefined>
  rotate(actor: string, id: string, rotation: RotationRequest): Promise<Rotation>
  /** @returns false when there is no such destination */
  remove(actor: string, id: string): Promise<boolean>
  /** Local mode's bundled receiver: one destination of that name with one rule, the same answer every time. */
  ensureLocal(url: string, name: string): Promise<LocalDestination>
}

export interface RotationRequest {
  /** For how long both secrets sign; 0: the earlier one ends now. */
  readonly overlapSeconds: number
  /** Also while an earlier rotation still overlaps: the secret before it ends now. */
  readonly replaceRunning: boolean
}

export type { Saving }

export function openDestinations(needs: DestinationsNeeds): Destinations {
  return {
    create: (actor, destination) => createDestination(needs, actor, destination),
    list: () => listDestinations(needs.db),
    find: (id) => findDestination(needs.db, id),
    change: (actor, id, values) => changeDestination(needs, actor, id, values),
    pause: (actor, id) =>
      hold(needs, actor, id, 'destination.paused', (tx) => pauseDestination(tx, id, actor)),
    resume: (actor, id) => hold(needs, actor, id, 'destination.resumed', (tx) => resumeDestination(tx, id)),
    rotate: (actor, id, rotation) => rotateSecret(needs, actor, id, rotation),
    async remove(actor, id) {
      await ensureToday(needs.db)
      const removed = await needs.db.transaction(async (tx) => {
        if (!(await lockDestinationForDeletion(tx, id))) return false
        await markDestinationDeleted(tx, id)
        await needs.rules.disableFor(tx, id)
        const cancelled = await countDeliveriesOf(tx, id)
        await cancelDeliveriesOf(tx, id, CANCELLED_AT_ONCE)
        await audit(tx, { actor, action: 'destination.deleted', subject: id, detail: { cancelled } })
        return true
      })
      if (removed) await needs.rules.reload()
      return removed
    },
    ensureLocal: (url, name) => ensureLocal(needs, url, name),
  }
}

/** Twice is once: only a change of state is audited. */
function hold(
  needs: DestinationsNeeds,
  actor: string,
  id: string,
  action: string,
  write: (tx: Db) => Promise<boolean>,
): Promise<DestinationRow | undefined> {
  return needs.db.transaction(async (tx) => {
    const row = await lockDestination(tx, id)
    if (row === undefined) return undefined
    if (await write(tx)) await audit(tx, { actor, action, subject: id, detail: { name: row.name } })
    return findDestination(tx, id)
  })
}
