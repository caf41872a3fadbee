/**
 * THE OTHER TABLE TO READ FIRST: every kind of due row and who works on it. A kind that is not here is not worked on.
 *
 *   due rows in                   worked on by                 what it does
 *   auth.deliveries               delivery/work.ts             sends one event to one destination
 *   auth.dead_retries             delivery/dead-work.ts        releases dead deliveries that somebody retries
 *   auth.refreshes                connections/refresh-work.ts  refreshes tokens ahead of their expiry
 *   auth.subscription_renewals    subscriptions/work.ts        makes a provider notify us, and go on with it
 *   auth.subscription_stops       subscriptions/stop-work.ts   ends at a provider what is over here
 *   auth.subscription_checks      subscriptions/check-work.ts  finds changes that were not pushed, and what else to watch
 *   auth.revocations              connections/revocation-work  ends a disconnected connection at its provider
 *   auth.account_signals          connections/signals.ts       acts on what a provider says about an account
 *   auth.erasures                 connections/erasure.ts       deletes everything of a user
 *   auth.chores                   work/chores.ts               the housekeeping below
 */
import { deleteOldConsents } from './connections/admin-consent-store.ts'
import { type SecretExpiry, warnOfSecrets } from './connections/client-secrets.ts'
import { type ErasureNeeds, erasureWork } from './connections/erasure.ts'
import { type RefreshWorkNeeds, refreshWork } from './connections/refresh-work.ts'
import { type RevocationNeeds, revocationWork } from './connections/revocation-work.ts'
import { deleteOldSignals } from './connections/signal-store.ts'
import { type SignalNeeds, signalWork } from './connections/signals.ts'
import { sweepFlows, sweepSessions } from './connections/sweep.ts'
import type { Database } from './db/sql.ts'
import { cancelLeftovers } from './delivery/cancel.ts'
import { deleteOldDeadRetries } from './delivery/dead-store.ts'
import { type DeadWorkNeeds, deadRetries } from './delivery/dead-work.ts'
import { dropEndedSecrets } from './delivery/destination-store.ts'
import { type DeliveryWorkNeeds, deliveryWork } from './delivery/work.ts'
import { deleteOldRejections } from './ingest/rejection-store.ts'
import type { Log } from './platform/log.ts'
import { sweepCertificates } from './subscriptions/certificates.ts'
import { type CheckNeeds, subscriptionChecks } from './subscriptions/check-work.ts'
import { subscriptionStops } from './subscriptions/stop-work.ts'
import { type RenewalNeeds, subscriptionRenewals } from './subscriptions/work.ts'
import { sweepProcesses } from './vault/store.ts'
import { type Chore, choreKind, makeDays } from './work/chores.ts'
import type { DueRow, WorkKind } from './work/work.ts'

const MINUTE = 60
const HOUR = 60 * MINUTE

/** Housekeeping, by name of its row. */
export function choreTable(
  db: Database,
  needs: {
    readonly expiries: readonly SecretExpiry[]
    readonly log: Log
    readonly sweepVanished: () => Promise<void>
    readonly applyRetention: (unfinished: () => void) => Promise<void>
    readonly reconcile: () => Promise<void>
  },
): Readonly<Record<string, Chore>> {
  return {
    'sweep-flows': {
      everySeconds: MINUTE,
      run: async () => {
        await sweepFlows(db)
      },
    },
    'sweep-sessions': { everySeconds: HOUR, run: () => sweepSessions(db) },
    'drop-ended-secrets': { everySeconds: 10 * MINUTE, run: () => dropEndedSecrets(db) },
    'sweep-processes': {
      everySeconds: HOUR,
      run: async () => {
        await sweepProcesses(db)
      },
    },
    'warn-of-secrets': {
      everySeconds: HOUR,
      run: () => warnOfSecrets({ db, log: needs.log }, needs.expiries),
    },
    'sweep-vanished-users': { everySeconds: 10 * MINUTE, run: needs.sweepVanished },
    'sweep-signals': {
      everySeconds: HOUR,
      run: async () => {
        await deleteOldSignals(db)
        await deleteOldConsents(db)
        await deleteOldRejections(db)
      },
    },
    'cancel-deliveries': {
      everySeconds: 10,
      run: async () => {
        await cancelLeftovers(db)
      },
    },
    'sweep-dead-retries': {
      everySeconds: HOUR,
      run: async () => {
        await deleteOldDeadRetries(db)
      },
    },
    'sweep-certificates': {
      everySeconds: HOUR,
      run: async () => {
        await sweepCertificates(db)
      },
    },
    'reconcile-subscriptions': { everySeconds: 6 * HOUR, run: needs.reconcile },
    'drop-old-days': { everySeconds: HOUR, run: needs.applyRetention },
    'make-days': { everySeconds: HOUR, run: () => makeDays(db) },
  }
}

/** A kind with its own type of row, as the worker sees it: rows go only to the kind that claimed them. */
const asKind = <Row extends DueRow>(kind: WorkKind<Row>): WorkKind<DueRow> =>
  kind as unknown as WorkKind<DueRow>

export function workTable(
  needs: DeadWorkNeeds &
    DeliveryWorkNeeds &
    RefreshWorkNeeds &
    RenewalNeeds &
    CheckNeeds &
    RevocationNeeds &
    SignalNeeds &
    ErasureNeeds & { chores: Readonly<Record<string, Chore>> },
): readonly WorkKind<DueRow>[] {
  return [
    asKind(deliveryWork(needs)),
    asKind(deadRetries(needs)),
    asKind(refreshWork(needs)),
    asKind(subscriptionRenewals(needs)),
    asKind(subscriptionStops(needs)),
    asKind(subscriptionChecks(needs)),
    asKind(revocationWork(needs)),
    asKind(signalWork(needs)),
    asKind(erasureWork(needs)),
    asKind(choreKind(needs.db, needs.chores)),
  ]
}
