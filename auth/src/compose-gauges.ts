/** The gauges that are read from the database when the page of metrics is asked for. A failure leaves the last values. */
import { backlogGauges } from './compose-backlog.ts'
import { type SecretExpiry, secondsLeft } from './connections/client-secrets.ts'
import { findAlarms } from './connections/refresh-pace-store.ts'
import type { Db } from './db/sql.ts'
import type { Clock } from './platform/clock.ts'
import type { Metrics } from './platform/metrics.ts'
import { countUnwell } from './subscriptions/health-store.ts'
import { countRowsByKey } from './vault/rotation-store.ts'

export interface GaugeNeeds {
  readonly db: Db
  readonly metrics: Metrics
  readonly clock: Clock
  readonly monotonicMs: () => number
  readonly expiries: readonly SecretExpiry[]
}

export function gaugesFrom({ db, metrics, clock, monotonicMs, expiries }: GaugeNeeds): () => Promise<void> {
  const readBacklog = backlogGauges({ db, metrics, monotonicMs })
  return async () => {
    for (const expiry of expiries)
      metrics.clientSecretExpires(expiry.provider, secondsLeft(expiry, clock.now()))
    await readBacklog()
    const rows = await countRowsByKey(db).catch(() => undefined)
    if (rows !== undefined) metrics.vaultRows(rows)
    const alarms = await findAlarms(db).catch(() => undefined)
    if (alarms !== undefined) metrics.providerAlarms(alarms)
    const unwell = await countUnwell(db).catch(() => undefined)
    if (unwell !== undefined) metrics.subscriptionsUnwell(unwell)
  }
}
