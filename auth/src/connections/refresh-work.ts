/**
 * The kind of due row called `refreshes`: tokens are refreshed ahead of their expiry, at each provider no faster and no
 * more at once than its limits. A row is claimed only with a place already reserved for it and a turn to begin within a
 * quarter of a second, so that no claimed row waits long.
 */
import type { Lease, WorkKind } from '../work/work.ts'
import { type HeldRefresh, REFRESH_LEASE_SECONDS, type RefreshNeeds, refresh } from './refresh.ts'
import { REFRESH_CONCURRENCY, type RefreshPlace } from './refresh-limits.ts'
import type { RefreshTurn } from './refresh-pace.ts'
import {
  type ClaimedRefresh,
  claimRefreshes,
  deferRefresh,
  extendRefresh,
  giveBackRefresh,
} from './refresh-store.ts'

export interface RefreshRow extends ClaimedRefresh, HeldRefresh {
  readonly place: RefreshPlace
  readonly turn: RefreshTurn
}

export interface RefreshWorkNeeds {
  readonly refreshing: RefreshNeeds
  readonly providerIds: readonly string[]
}

const POISON_SECONDS = 3_600

export function refreshWork({ refreshing: needs, providerIds }: RefreshWorkNeeds): WorkKind<RefreshRow> {
  const most = REFRESH_CONCURRENCY * Math.max(1, providerIds.length)
  return {
    name: 'refreshes',
    leaseSeconds: REFRESH_LEASE_SECONDS,
    batch: most,
    concurrency: most,
    claim: (_db, lease) => claim(needs, lease, providerIds),
    extend: (db, row, seconds) => extendRefresh(db, row, seconds),
    release: async (db, row, seconds) => {
      await giveBackRefresh(db, row, seconds)
    },
    async run(row, signal) {
      try {
        await refresh(needs, row, row.turn, signal)
      } finally {
        row.place.end()
      }
    },
    async poison(db, row) {
      row.place.end()
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
  lease: Lease,
  providerIds: readonly string[],
): Promise<RefreshRow[]> {
  const places = new Map<string, RefreshPlace[]>()
  let left = lease.limit
  for (const provider of providerIds) {
    const reserved = needs.limits.reserve(provider, left)
    left -= reserved.length
    if (reserved.length > 0) places.set(provider, reserved)
  }
  if (places.size === 0) return []
  const leasedMs = needs.monotonicMs()
  try {
    const claimed = await claimRefreshes(needs.db, lease, {
      providers: [...places.keys()],
      limits: [...places.values()].map((reserved) => reserved.length),
    })
    return claimed.map((row) => {
      const place = places.get(row.provider)?.pop()
      if (place === undefined)
        throw Object.assign(new Error('more refreshes were claimed than reserved'), { code: 'overclaimed' })
      return { ...row, leasedMs, place, turn: needs.pace.turnOf(row, leasedMs) }
    })
  } finally {
    for (const unused of [...places.values()].flat()) unused.end()
  }
}
