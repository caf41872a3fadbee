/**
 * What a person or a service chooses for one resource of a connection: whether it is watched, how often it is checked,
 * and that it be renewed now. Written down here; the due rows do it.
 */
import type { Database } from '../db/sql.ts'
import type { Nudge } from '../work/work.ts'
import { checkOriginNow, findSeen, setCheckEvery, setOff } from './choice-store.ts'
import { RENEWALS } from './kinds.ts'
import { lockLiving } from './reconcile-store.ts'
import { renewSoon } from './renewal-store.ts'
import type { Subscriptions } from './subscriptions.ts'

export interface ChoiceNeeds {
  readonly db: Database
  readonly subscriptions: Pick<Subscriptions, 'subscribe' | 'changed'>
  readonly nudge: Nudge
}

export interface Choice {
  readonly enabled?: boolean | undefined
  /** null: as the setting says */
  readonly checkMinutes?: number | null | undefined
}

/** Renewing twice within ten minutes leaves an undefined state at one provider (protocols/microsoft.md §2.5). */
const NOT_WITHIN_SECONDS = 600

/** Who asks: an admin for all, everybody else for his own. */
export interface Viewer {
  readonly userId: string
  readonly role: string
}

/** @returns not_found also for another's; busy while the connection itself is being changed, or is not living */
export async function chooseSubscription(
  needs: ChoiceNeeds,
  viewer: Viewer,
  subscriptionId: string,
  choice: Choice,
): Promise<'ok' | 'not_found' | 'busy'> {
  let changed: string | undefined
  const outcome = await needs.db.transaction(async (tx) => {
    const row = await findSeen(tx, subscriptionId, viewer)
    if (row === undefined) return 'not_found'
    const { connection_id: connectionId, kind } = row
    changed = connectionId
    if (choice.enabled !== undefined) {
      const connection = await lockLiving(tx, connectionId)
      if (connection === undefined) return 'busy'
      await setOff(tx, connectionId, kind, !choice.enabled)
      const grantedScopes = connection.scope.split(' ').filter((scope) => scope !== '')
      const { provider } = connection
      await needs.subscriptions.subscribe(tx, { id: connectionId, provider, grantedScopes, fresh: false })
      // it is found by asking, with the next check of what it is found by
      if (choice.enabled && kind.includes(':')) await checkOriginNow(tx, connectionId, kind)
    }
    if (choice.checkMinutes !== undefined)
      await setCheckEvery(tx, row.id, choice.checkMinutes === null ? null : choice.checkMinutes * 60)
    return 'ok'
  })
  if (outcome === 'ok' && changed !== undefined) needs.subscriptions.changed(changed)
  return outcome
}

/** Due now, or ten minutes after its last renewal. @returns not_live: there is nothing to renew, it is being made or is over */
export async function renewNow(
  needs: Omit<ChoiceNeeds, 'subscriptions'>,
  viewer: Viewer,
  subscriptionId: string,
): Promise<'ok' | 'not_found' | 'not_live'> {
  const row = await findSeen(needs.db, subscriptionId, viewer)
  if (row === undefined) return 'not_found'
  if (row.state !== 'active') return 'not_live'
  await needs.db.transaction((tx) => renewSoon(tx, row.id, NOT_WITHIN_SECONDS))
  needs.nudge.nudge(RENEWALS)
  return 'ok'
}
