/**
 * What a provider says about a subscription itself, as due rows: it wants to be renewed (not twice within ten minutes),
 * it is gone and has to be made anew, or not everything was pushed. Runs before the notification is acknowledged, so
 * that nothing of it is lost; said twice is said once. Never calls a provider.
 */
import type { Fact } from '@flovify/providers'
import type { Database } from '../db/sql.ts'
import type { Nudge } from '../work/work.ts'
import { RENEWALS } from './kinds.ts'
import { addMissedGap, dueNow, loseSubscription, renewSoon } from './renewal-store.ts'

export interface LifecycleNeeds {
  readonly db: Database
  readonly nudge: Nudge
}

/** Renewing and reauthorising within ten minutes leaves an undefined state. Source: protocols/microsoft.md §2.5. */
const NOT_WITHIN_SECONDS = 600

/** @param facts of a genuine notification; those that are not about a subscription itself are passed over */
export async function heedLifecycle(needs: LifecycleNeeds, facts: readonly Fact[]): Promise<void> {
  let due = false
  for (const { type, subscriptionId } of facts) {
    if (subscriptionId === undefined) continue
    switch (type) {
      case 'subscription.v1.reauthorization_required':
        await needs.db.transaction((tx) => renewSoon(tx, subscriptionId, NOT_WITHIN_SECONDS))
        due = true
        break
      case 'subscription.v1.removed':
        await needs.db.transaction(async (tx) => {
          if (await loseSubscription(tx, subscriptionId, 'removed')) await dueNow(tx, subscriptionId)
        })
        due = true
        break
      case 'subscription.v1.missed':
        await addMissedGap(needs.db, subscriptionId)
        break
    }
  }
  if (due) needs.nudge.nudge(RENEWALS)
}
