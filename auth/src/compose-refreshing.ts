/** Puts together what workers and readers refresh tokens with: one pace for all processes, the places of this one. */

import type { RefreshNeeds } from './connections/refresh.ts'
import { openFailureReport } from './connections/refresh-failure.ts'
import { openRefreshLimits } from './connections/refresh-limits.ts'
import { openRefreshPace } from './connections/refresh-pace.ts'
import { plantPaces } from './connections/refresh-pace-store.ts'

export async function composeRefreshing(
  parts: Omit<RefreshNeeds, 'limits' | 'pace' | 'report'>,
  providerIds: readonly string[],
): Promise<RefreshNeeds> {
  await plantPaces(parts.db, providerIds)
  return {
    ...parts,
    limits: openRefreshLimits(parts),
    pace: openRefreshPace(parts),
    report: openFailureReport(parts),
  }
}
