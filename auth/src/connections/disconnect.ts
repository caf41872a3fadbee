/**
 * Disconnects, on our side and at once: status, data key, tokens and subscriptions in one transaction, so that from its
 * commit nobody gets a token. Telling the provider is another step. Foreign ids are unknown ids.
 */
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { unscheduleRefresh } from './refresh-store.ts'
import { findConnection, revokeConnection, type Viewer } from './store.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'

export interface DisconnectNeeds {
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly subscriptions: Pick<SubscriptionsOfConnections, 'stop' | 'changed'>
}

/** @returns `unknown` also for another user's connection; a second disconnect is a success without effect */
export async function disconnect(
  needs: DisconnectNeeds,
  connectionId: string,
  viewer: Viewer,
): Promise<{ readonly kind: 'disconnected' | 'unknown' }> {
  const kind = await needs.db.transaction(async (tx) => {
    const revoked = await revokeConnection(tx, connectionId, viewer)
    if (revoked === undefined)
      return (await findConnection(tx, connectionId, viewer)) === undefined ? 'unknown' : 'before'
    await unscheduleRefresh(tx, revoked.id)
    await needs.subscriptions.stop(tx, revoked.id)
    await audit(tx, {
      actor: `user:${viewer.userId}`,
      action: 'connection.revoked',
      subject: revoked.id,
      detail: { provider: revoked.provider, owner: revoked.owner_id },
    })
    await needs.ledger.record(tx, [
      {
        type: 'connection.v1.revoked',
        area: 'lifecycle',
        connectionId: revoked.id,
        ownerId: revoked.owner_id,
        provider: revoked.provider,
        subject: `connections/${revoked.id}`,
        data: {
          connection: { id: revoked.id, provider: revoked.provider, account: revoked.account_label },
          status: 'revoked',
          by: 'us',
        },
      },
    ])
    return 'now'
  })
  if (kind === 'now') needs.subscriptions.changed(connectionId)
  return { kind: kind === 'unknown' ? 'unknown' : 'disconnected' }
}
