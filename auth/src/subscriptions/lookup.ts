/**
 * What a provider may look up while it judges a notification. A MAC is checked before anything is asked of the database,
 * so a forgery costs no query; what the database says is kept for seconds, in a bounded cache, and what it does not know
 * is never kept: a notification about nobody is acknowledged, so that answer must be fresh. Changes of this process are
 * seen at once, those of others after that time. Never decides whether a notification is genuine.
 */
import type { KnownSubscription, Lookup } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { type SubscriptionId, sha256 } from '../platform/ids.ts'
import type { Log } from '../platform/log.ts'
import type { ChannelKeys } from '../vault/channel-keys.ts'
import type { Vault } from '../vault/vault.ts'
import { openPrivateKeys } from './certificates.ts'
import { LruCache } from './lru-cache.ts'
import { findByAddress, findByChannelHash } from './store.ts'
import { TimedCache } from './timed-cache.ts'

export interface LookupNeeds {
  readonly db: Db
  readonly channelKeys: ChannelKeys
  readonly vault: Vault
  readonly log: Log
  readonly monotonicMs: () => number
}

export interface SubscriptionLookup {
  /** The contract's `Lookup`, of one provider. */
  of(providerId: string): Lookup
  /** Something of this connection changed. */
  forget(connectionId: string): void
}

type Subscribed = readonly { readonly connectionId: string; readonly subscriptionId: string }[]

const ENTRIES = 10_000
const SECRET_MS = 10_000
/** Short: a second connection of the same mailbox must not wait for its events. */
const ADDRESS_MS = 2_000
const NOT_KEPT = 0

export function openLookup(needs: LookupNeeds): SubscriptionLookup {
  const bySecret = new LruCache<KnownSubscription | undefined>(ENTRIES, needs.monotonicMs)
  const byAddress = new LruCache<Subscribed>(ENTRIES, needs.monotonicMs)
  const privateKeys = openPrivateKeys(needs)
  const genuineRefs = new TimedCache<SubscriptionId>(ENTRIES, SECRET_MS, needs.monotonicMs)
  return {
    of: (providerId) => ({
      genuineRef: (ref) => genuineRefs.read(ref, () => needs.channelKeys.genuineRef(ref)),
      async byChannelSecret(presented) {
        const key = `${providerId}/${presented}`
        // what is kept was genuine and found; a forgery is never kept, so it pays for its MAC each time
        if (!bySecret.has(key) && !needs.channelKeys.genuineChannelSecret(presented)) return undefined
        return bySecret.read(key, async () => {
          const row = await findByChannelHash(needs.db, providerId, sha256(presented))
          const known = row && {
            id: row.id,
            connectionId: row.connection_id,
            resource: row.resource,
            providerSubscriptionId: row.provider_subscription_id ?? undefined,
            accountKey: row.account_key,
            tenant: row.tenant ?? undefined,
          }
          // without the provider's own id the answer to our create is still to come
          return { value: known, keepMs: known?.providerSubscriptionId === undefined ? NOT_KEPT : SECRET_MS }
        })
      },
      genuineChannelSecret: (presented) => needs.channelKeys.genuineChannelSecret(presented),
      privateKey: privateKeys.read,
      byAddress: (address, resource) =>
        byAddress.read(`${providerId}/${resource}/${address}`, async () => {
          const rows = await findByAddress(needs.db, providerId, address, resource)
          const value = rows.map((row) => ({ connectionId: row.connection_id, subscriptionId: row.id }))
          return { value, keepMs: value.length === 0 ? NOT_KEPT : ADDRESS_MS }
        }),
    }),
    forget(connectionId) {
      bySecret.dropWhere((known) => known === undefined || known.connectionId === connectionId)
      // what is kept of its address does not name it if it is new there: another person's may be the same mailbox
      byAddress.dropWhere(() => true)
    },
  }
}
