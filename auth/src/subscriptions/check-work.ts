/**
 * The kind of due row called `subscription_checks`: asks the provider cheaply whether something changed that was not
 * pushed. What was missed is counted, its gap written down, told as an event, and the silent subscription replaced (for
 * silence at most once a day). On the way it finds what else is to be watched (each calendar of a list) and what of ours
 * lives at the provider and belongs to nobody. It never reads content, and never decides that a connection is broken.
 */
import type { CheckOutcome, Failure, Provider, Secret, SubscriptionQuestion } from '@flovify/providers'
import { dueIn } from '../work/due.ts'
import type { DueRow, WorkKind } from '../work/work.ts'
import { type AddressNeeds, subscriptionAt } from './address.ts'
import type { ListTurn } from './call-pace.ts'
import { checkInSeconds, judgeCheck } from './check-schedule.ts'
import {
  addGap,
  type CheckRow,
  deferCheck,
  findCheck,
  markSilent,
  settleChecked,
  settleNotLive,
} from './check-store.ts'
import { CHECKS, RENEWALS } from './kinds.ts'
import { callProvider } from './provider-call.ts'
import { dueNow, renewSoon } from './renewal-store.ts'
import { judgeRetry } from './retry.ts'
import { eventOf, type SettleNeeds } from './settle.ts'
import { adoptOrphans } from './stop-work.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { AccessToken } from './work.ts'

export interface CheckNeeds extends SettleNeeds, AddressNeeds {
  readonly provider: (id: string) => Provider | undefined
  readonly accessToken: AccessToken
  readonly subscriptions: Pick<Subscriptions, 'watchDiscovered' | 'changed'>
  readonly listTurn: ListTurn
  /** Unless a subscription has its own. */
  readonly checkEverySeconds: number
}

/** Two renewals within ten minutes leave an undefined state at one provider (protocols/microsoft.md §2.5). */
const NOT_WITHIN_SECONDS = 600
const POISON_SECONDS = 3_600

export function subscriptionChecks(needs: CheckNeeds): WorkKind<DueRow> {
  return {
    name: CHECKS,
    leaseSeconds: 60,
    batch: 16,
    concurrency: 16,
    ...dueIn('auth.subscription_checks'),
    run: (row, signal) => attend(needs, row, signal),
    poison: async (_db, row) => {
      await deferCheck(needs.db, row, POISON_SECONDS, null)
    },
  }
}

async function attend(needs: CheckNeeds, due: DueRow, signal: AbortSignal): Promise<void> {
  const row = await findCheck(needs.db, due)
  if (row === undefined) return
  const provider = needs.provider(row.provider)
  if (row.state !== 'active' || provider === undefined) {
    await settleNotLive(needs.db, due)
    return
  }
  const every = checkInSeconds(row.every_seconds ?? needs.checkEverySeconds, needs.random())
  const token = await needs.accessToken(row.connection_id, 60)
  if (token.kind !== 'token') {
    // what changes meanwhile is still seen, from the same place; without a person nobody can ask
    const failure = {
      class: token.kind === 'expired' ? 'transient' : 'needs_user',
      code: token.kind,
    } as const
    await askLater(needs, due, row, failure, every)
    return
  }
  const question = { resource: row.resource, accessToken: token.accessToken }
  const checked = await callProvider(needs, row, signal, (abort) =>
    provider.subscriptions.check({ ...question, cursor: row.cursor ?? undefined, signal: abort }),
  )
  if (signal.aborted) return
  if (checked.kind === 'failed') {
    await askLater(needs, due, row, checked.failure, every)
    return
  }
  if (row.checked_at === null || checked.changed) {
    const failure = await discover(needs, row, provider, question, signal)
    if (signal.aborted) return
    // asked again from the same place: what is not found now would not be looked for until something else changes
    if (failure !== undefined && judgeRetry(failure, row.attempts + 1, 0).kind === 'again')
      return askLater(needs, due, row, failure, every)
  }
  const listed = row.may_list && (await findOrphans(needs, row, provider, token.accessToken, signal))
  await settle(needs, due, row, provider, checked, { every, listed })
}

/** What passes by itself is asked again soon, everything else with the next check. */
async function askLater(
  needs: CheckNeeds,
  due: DueRow,
  row: CheckRow,
  failure: Failure,
  every: number,
): Promise<void> {
  const retry = judgeRetry(failure, row.attempts + 1, needs.random())
  await deferCheck(needs.db, due, retry.kind === 'again' ? Math.min(retry.inSeconds, every) : every, null)
}

async function settle(
  needs: CheckNeeds,
  due: DueRow,
  row: CheckRow,
  provider: Provider,
  checked: Extract<CheckOutcome, { kind: 'checked' }>,
  { every, listed }: { readonly every: number; readonly listed: boolean },
): Promise<void> {
  const verdict = judgeCheck({
    now: row.now,
    checkedAt: row.checked_at,
    suspectedAt: row.suspected_at,
    lastNotificationAt: row.last_notification_at,
    changed: checked.changed,
    ...(checked.lost && { lost: true }),
    newestAt: checked.newestAt,
    pushDelayMs: provider.subscriptions.pushDelayMs(row.resource),
  })
  if (verdict.kind === 'suspected') {
    await deferCheck(needs.db, due, verdict.inSeconds, verdict.since)
    return
  }
  const missed = verdict.kind !== 'well'
  const silent = verdict.kind === 'missed'
  const replaced = silent && row.may_replace
  const settled = await needs.db.transaction(async (tx) => {
    const { cursor } = checked
    const outcome = { inSeconds: every, cursor, checkedAt: row.now, missed, replaced, listed }
    if (!(await settleChecked(tx, due, outcome))) return false
    if (!missed) return true
    await addGap(tx, row.id, verdict.from, row.now)
    if (replaced) {
      await markSilent(tx, row.id, verdict.from)
      await dueNow(tx, row.id)
    } else if (silent && !provider.subscriptions.isReplaced?.(row.resource))
      // renewing tells whether it is there at all: one that is not is made anew at once
      await renewSoon(tx, row.id, NOT_WITHIN_SECONDS)
    const data = { from: verdict.from.toISOString(), to: row.now.toISOString(), replaced }
    await needs.ledger.record(tx, [eventOf('subscription.v1.missed', row, data)])
    return true
  })
  if (!settled || !missed) return
  needs.nudge.nudge(RENEWALS)
  needs.metrics.subscriptions(row.provider, 'missed')
  needs.log.warn(
    {
      provider: row.provider,
      subscription: row.id,
      kind: row.kind,
      from: verdict.from.toISOString(),
      replaced,
    },
    silent
      ? 'changes were not pushed; the gap is written down'
      : 'whether changes were not pushed cannot be found out; the gap is written down',
  )
}

/** Each calendar of a list, each shared drive. @returns why it was not found out */
async function discover(
  needs: CheckNeeds,
  row: CheckRow,
  provider: Provider,
  question: Omit<SubscriptionQuestion, 'signal'>,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const ask = provider.subscriptions.discover
  if (ask === undefined || row.kind.includes(':')) return undefined
  const found = await callProvider(needs, row, signal, (abort) => ask({ ...question, signal: abort }))
  if (found.kind === 'failed') return found.failure
  const origin = { connectionId: row.connection_id, provider: row.provider, kind: row.kind }
  const news = await needs.db.transaction((tx) =>
    needs.subscriptions.watchDiscovered(tx, origin, found.wanted),
  )
  if (news) needs.subscriptions.changed(row.connection_id)
  return undefined
}

/**
 * Ours by the authentic `ref` in its address, and nobody's: a create call whose answer was lost, a restored database.
 * @returns false: with another check, there was no turn or no answer
 */
async function findOrphans(
  needs: CheckNeeds,
  row: CheckRow,
  provider: Provider,
  accessToken: Secret,
  signal: AbortSignal,
): Promise<boolean> {
  const list = provider.subscriptions.list
  if (list === undefined) return true
  if (!(await needs.listTurn(row.provider, 0, signal).catch(() => false))) return false
  const listed = await callProvider(needs, row, signal, (abort) => list({ accessToken, signal: abort }))
  if (listed.kind === 'failed') return false
  const ours = listed.items.flatMap(({ notificationUrl, providerSubscriptionId }) => {
    const subscriptionId = subscriptionAt(needs, notificationUrl)
    return subscriptionId === undefined ? [] : [{ subscriptionId, providerSubscriptionId }]
  })
  await adoptOrphans(needs, ours, { connectionId: row.connection_id, resource: row.resource })
  return true
}
