/**
 * The kind of due row called `refreshes`: tokens are refreshed ahead of their expiry, at each provider no faster and no
 * more at once than its limits. A row is claimed only with a slot already reserved for it, so that no claimed row waits.
 */
import type { Db } from '../db/sql.ts'
import type { Lease, WorkKind } from '../work/work.ts'
import { type HeldRefresh, REFRESH_LEASE_SECONDS, type RefreshNeeds, refresh } from './refresh.ts'
import { REFRESH_LIMITS, type RefreshSlot } from './refresh-limits.ts'
import {
  type ClaimedRefresh,
  claimRefreshes,
  deferRefresh,
  extendRefresh,
  giveBackRefresh,
} from './refresh-store.ts'

export interface RefreshRow extends ClaimedRefresh, HeldRefresh {
  readonly slot: RefreshSlot
}

export interface RefreshWorkNeeds {
  readonly refreshing: RefreshNeeds
  readonly providerIds: readonly string[]
}

const POISON_SECONDS = 3_600

export function refreshWork({ refreshing: needs, providerIds }: RefreshWorkNeeds): WorkKind<RefreshRow> {
  const most = REFRESH_LIMITS.concurrency * Math.max(1, providerIds.length)
  return {
    name: 'refreshes',
    leaseSeconds: REFRESH_LEASE_SECONDS,
    batch: most,
    concurrency: most,
    claim: (db, lease) => claim(needs, db, lease, providerIds),
    extend: (db, row, seconds) => extendRefresh(db, row, seconds),
    release: async (db, row, seconds) => {
      await giveBackRefresh(db, row, seconds)
    },
    async run(row, signal) {
      try {
        await refresh(needs, row, row.slot, signal)
      } finally {
        row.slot.end()
      }
    },
    async poison(db, row) {
      row.slot.end()
      needs.log.error(
        { provider: row.provider, connection: row.id },
        'refreshing this connection ended the process several times; it rests for an hour',
      )
      await deferRefresh(db, row, POISON_SECONDS)
    },
  }
}

async function claim(
  needs: RefreshNeeds,
  db: Db,
  lease: Lease,
  providerIds: readonly string[],
): Promise<RefreshRow[]> {
  const slots = new Map<string, RefreshSlot[]>()
  let left = lease.limit
  for (const provider of providerIds) {
    const reserved = needs.limits.reserve(provider, left)
    left -= reserved.length
    if (reserved.length > 0) slots.set(provider, reserved)
  }
  if (slots.size === 0) return []
  const leasedMs = needs.monotonicMs()
  try {
    const claimed = await claimRefreshes(db, lease, {
      providers: [...slots.keys()],
      limits: [...slots.values()].map((reserved) => reserved.length),
    })
    return claimed.map((row) => {
      const slot = slots.get(row.provider)?.pop()
      if (slot === undefined)
        throw Object.assign(new Error('more refreshes were claimed than reserved'), { code: 'overclaimed' })
      return { ...row, leasedMs, slot }
    })
  } finally {
    for (const unused of [...slots.values()].flat()) unused.end()
  }
}
