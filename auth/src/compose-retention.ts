/** Puts retention together: the ledger drops its days, the delivery room ends what waited too long. */
import type { Db } from './db/sql.ts'
import { expireDeliveries } from './delivery/expiry-store.ts'
import { applyRetention } from './ledger/retention.ts'
import type { RetentionDays } from './ledger/retention-days.ts'
import { monotonicMs } from './platform/clock.ts'
import type { Log } from './platform/log.ts'
import type { Metrics } from './platform/metrics.ts'

export function composeRetention(
  needs: { readonly db: Db; readonly log: Log; readonly metrics: Metrics },
  days: RetentionDays,
): (unfinished: () => void) => Promise<void> {
  const { db, log, metrics } = needs
  return (unfinished) =>
    applyRetention({
      db,
      log,
      days,
      monotonicMs,
      unfinished,
      async expireDeliveries(olderThanDays, limit) {
        let sum = 0
        for (const { destination_id, count } of await expireDeliveries(db, olderThanDays, limit)) {
          metrics.deliveries(destination_id, 'expired', count)
          sum += count
        }
        return sum
      },
    })
}
