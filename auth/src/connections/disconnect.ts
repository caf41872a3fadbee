/**
 * Disconnects: from the commit of one transaction nobody gets a token any more, and its subscriptions are not ours. What
 * is left to do at the provider becomes a due row, which still holds the sealed tokens; where nothing is left they are
 * wiped at once. Says what happens at the provider. Foreign ids are unknown ids.
 */
import { audit } from '../audit/audit.ts'
import type { Database, Transaction } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Nudge } from '../work/work.ts'
import { unscheduleRefresh } from './refresh-store.ts'
import { insertRevocation } from './revocation-store.ts'
import { REVOCATIONS } from './revocation-work.ts'
import {
  endConnection,
  findAfterwards,
  findConnection,
  lockToEnd,
  type ToEnd,
  type Viewer,
  wipeConnection,
} from './store.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'
import type { AtProvider, AtProviderNeeds } from './withdrawal.ts'
import { atProvider } from './withdrawal.ts'

export interface DisconnectNeeds extends AtProviderNeeds {
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly subscriptions: Pick<SubscriptionsOfConnections, 'stop' | 'changed' | 'hasToStop'>
  readonly nudge: Nudge
}

export type DisconnectOutcome =
  | { readonly kind: 'unknown' }
  | {
      readonly kind: 'disconnected'
      /** `revoking` while something is still to be done at the provider. */
      readonly status: 'revoking' | 'revoked'
      readonly atProvider: AtProvider
    }

/** Who ended it, in the words of the event catalogue. */
export type EndedBy = 'user' | 'admin' | 'us' | 'provider'

/** @returns `unknown` also for another user's connection; a second disconnect is a success without effect */
export async function disconnect(
  needs: DisconnectNeeds,
  connectionId: string,
  viewer: Viewer,
): Promise<DisconnectOutcome> {
  const outcome = await needs.db.transaction(async (tx): Promise<DisconnectOutcome> => {
    if ((await findConnection(tx, connectionId, viewer)) === undefined) return { kind: 'unknown' }
    const row = await lockToEnd(tx, connectionId)
    if (row !== undefined) {
      const own = row.owner_id === viewer.userId
      await end(needs, tx, row, `user:${viewer.userId}`, own ? 'user' : 'admin', 'disconnected')
    }
    const after = await findAfterwards(tx, connectionId)
    return after === undefined
      ? { kind: 'unknown' }
      : {
          kind: 'disconnected',
          status: after.status === 'revoking' ? 'revoking' : 'revoked',
          atProvider: atProvider(needs, after),
        }
  })
  if (outcome.kind === 'disconnected') ended(needs, connectionId)
  return outcome
}

/**
 * Ends a connection in somebody's transaction. Call `ended` after its commit.
 * @param reason a fixed word, shown with the state
 */
export async function end(
  needs: Omit<DisconnectNeeds, 'db' | 'nudge'>,
  tx: Transaction,
  row: ToEnd,
  actor: string,
  by: EndedBy,
  reason: string,
): Promise<void> {
  await unscheduleRefresh(tx, row.id)
  await needs.subscriptions.stop(tx, row.id)
  // What a provider has ended itself has nothing left to end there.
  const left =
    by !== 'provider' &&
    row.has_tokens &&
    (needs.provider(row.provider)?.oauth.revoke !== undefined ||
      (await needs.subscriptions.hasToStop(tx, row.id)))
  if (left) {
    await endConnection(tx, row.id, 'revoking', reason)
    await insertRevocation(tx, row.id)
  } else {
    await endConnection(tx, row.id, 'revoked', reason)
    await wipeConnection(tx, row.id)
  }
  await audit(tx, {
    actor,
    action: 'connection.revoked',
    subject: row.id,
    detail: {
      provider: row.provider,
      owner: row.owner_id,
      by,
      reason,
      status: left ? 'revoking' : 'revoked',
    },
  })
  await needs.ledger.record(tx, [
    {
      type: 'connection.v1.revoked',
      area: 'lifecycle',
      connectionId: row.id,
      ownerId: row.owner_id,
      provider: row.provider,
      subject: `connections/${row.id}`,
      data: {
        connection: { id: row.id, provider: row.provider, account: row.account_label },
        status: left ? 'revoking' : 'revoked',
        previousStatus: row.status,
        by,
        reason,
      },
    },
  ])
}

/** After the commit. */
export function ended(
  needs: { subscriptions: Pick<SubscriptionsOfConnections, 'changed'>; nudge: Nudge },
  connectionId: string,
): void {
  needs.subscriptions.changed(connectionId)
  needs.nudge.nudge(REVOCATIONS)
}
