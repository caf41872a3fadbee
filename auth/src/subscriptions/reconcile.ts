/**
 * Makes actual match wanted for every living connection: after a setting changed, after a restored backup, after anything
 * that nobody told us. Goes through them in order, a transaction each, so that it may be ended anywhere. Never calls a
 * provider: what it finds becomes due.
 */
import type { Database } from '../db/sql.ts'
import { findLiving, lockLiving } from './reconcile-store.ts'
import type { Subscriptions } from './subscriptions.ts'

export interface ReconcileNeeds {
  readonly db: Database
  readonly subscriptions: Pick<Subscriptions, 'subscribe' | 'changed'>
}

const PAGE = 200

export async function reconcile(needs: ReconcileNeeds): Promise<void> {
  for (let after = ''; ; ) {
    const page = await findLiving(needs.db, after, PAGE)
    for (const id of page) {
      const changed = await needs.db.transaction(async (tx) => {
        const row = await lockLiving(tx, id)
        if (row === undefined) return false
        const grantedScopes = row.scope.split(' ').filter((scope) => scope !== '')
        await needs.subscriptions.subscribe(tx, { id, provider: row.provider, grantedScopes, fresh: false })
        return true
      })
      if (changed) needs.subscriptions.changed(id)
    }
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last
  }
}
