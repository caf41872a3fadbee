/**
 * Ten thousand subscriptions on one worker: made, checked, renewed through a whole round, and through a provider that is
 * away for six hours in the middle of it. What must hold: no second with more calls at a provider than `per_second` (counted
 * by the providers), renewals spread over their window, nothing lapses, and the end of the outage is no storm. What a lost
 * answer left at a provider is found as it always is (at Google by its first message, at Graph by a listing) and ended.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { ACCOUNTS, openRefreshWorld, type RefreshWorld } from './refresh-world.ts'
import {
  callsOf,
  chanceOf,
  chart,
  endOf,
  PROVIDERS,
  spreadOf,
  strangersOf,
  unevennessOf,
} from './subscription-figures.ts'
import { clockOf, liveAt, move, settled } from './subscription-world.ts'

export interface SubscriptionScale {
  readonly databaseUrl: string
  readonly directory: string
  /** Of each provider. */
  readonly connections: number
  readonly perSecond: number
  /** Simulated time that passes at once. */
  readonly stepMinutes: number
}

const HOUR_SECONDS = 3_600
const QUARTER_SECONDS = 900
const OUTAGE_HOURS = 6
const OUTAGE_STEP_HOURS = 2
const LOST_ANSWERS = 3
/** Graph allows 25 in 20 seconds. */
const LISTS_PER_SECOND = 2

/** The long form. */
export const scaleAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    subscriptionScale({ databaseUrl, directory, connections: 5_000, perSecond: 100, stepMinutes: 30 }, print),
  )

export async function subscriptionScale(scale: SubscriptionScale, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const world = await openRefreshWorld(scale.databaseUrl, scale.directory, 1, {
    // what is checked once a day is not what is measured here, and is there all the same
    environment: { MICROSOFT_WATCH: 'mail', GOOGLE_WATCH: 'drive', SUBSCRIPTION_CHECK_MINUTES: '1440' },
  })
  const all = 2 * scale.connections
  try {
    await world.start(0)
    // many connections of one account stand for many accounts
    await world.control('/faults', {
      provider: 'microsoft',
      oneStandsForMany: true,
    })
    await world.db.query(`update auth.call_pace set per_second = $1 where provider not like '%/lists'`, [
      scale.perSecond,
    ])
    for (const provider of PROVIDERS)
      await world.seed({ provider, count: scale.connections, validSeconds: 3_600, due: false })
    // tokens are refreshed by whoever needs one here; their own storm is another fault
    await world.db.query('update auth.refresh_pace set per_second = 1000')
    await world.db.query(`update auth.refreshes set due_at = auth.clock() + interval '60 days'`)
    await world.db.query(
      `update auth.chores set due_at = auth.clock(), lease_until = null, lease_id = null where id = 'reconcile-subscriptions'`,
    )
    await loseAnswers(world)
    const startedMs = performance.now()
    await settled(world, all, patienceMs(scale))
    const seconds = Math.round((performance.now() - startedMs) / 1_000)
    const made = await callsOf(world)
    const madeAt = new Date(await clockOf(world))
    print(`${all} subscriptions were made in ${seconds} s; calls: ${JSON.stringify(made)}`)

    const spread = await spreadOf(world)
    for (const { provider, buckets } of spread) {
      print(`renewals of ${provider}, due by part of their window:`)
      for (const line of chart(buckets)) print(line)
    }
    const unevenness = Math.max(...spread.map(({ buckets }) => unevennessOf(buckets)))
    expect(
      unevenness <= chanceOf(scale),
      `parts of a window differ from their mean by ${Math.round(unevenness * 100)} %, chance alone makes ${Math.round(chanceOf(scale) * 100)} %`,
    )

    const rounds = await oneRound(world, scale, madeAt, print)
    const after = await callsOf(world)
    for (const provider of PROVIDERS)
      for (const kind of ['reads', 'changes'] as const)
        expect(
          after[provider][kind].peakPerSecond <= scale.perSecond,
          `${provider}: at most ${after[provider][kind].peakPerSecond} ${kind} within any second, of ${scale.perSecond} allowed`,
        )
    expect(
      after.microsoft.lists.peakPerSecond <= LISTS_PER_SECOND,
      `microsoft: at most ${after.microsoft.lists.peakPerSecond} lists within any second, ${after.microsoft.lists.count} in all`,
    )
    const strangers = await endStrangers(world, scale, print)
    const end = await endOf(world, madeAt)
    const live = await liveAt(world)
    expect(
      live.size === all && end.active === all && end.stops === 0,
      `${live.size} of ${all} live at their provider, ${end.active} here, ${end.stops} wait to be stopped`,
    )
    expect(end.gaps === 0, `${end.gaps} lapsed or were lost${end.lapses === '' ? '' : `: ${end.lapses}`}`)
    expect(end.renewed === all, `${end.renewed} of ${all} were renewed`)
    return {
      problems,
      figures: {
        subscriptions: all,
        limitPerSecond: scale.perSecond,
        made_in_seconds: seconds,
        calls: after,
        answers_lost_and_found: strangers,
        renewals_by_part_of_their_window: Object.fromEntries(
          spread.map(({ provider, buckets }) => [provider, buckets]),
        ),
        unevenness: Number(unevenness.toFixed(2)),
        ...rounds,
        ...end,
      },
    }
  } finally {
    await world.close()
  }
}

/**
 * So much time at once, and what it makes due. For a moment the service still reckons with the time before, and takes a
 * token that it fetches then for expired: what failed waits up to a quarter of an hour, which passes too.
 */
async function pass(world: RefreshWorld, seconds: number, patience: number, again = 4): Promise<void> {
  await move(world, seconds)
  await sleep(1_100)
  await settled(world, 0, patience)
  const { rowCount } = await world.db.query(
    'select from auth.subscription_renewals where attempts > 0 limit 1',
  )
  if (rowCount !== 0 && again > 0) await pass(world, QUARTER_SECONDS, patience, again - 1)
}

/** From now until all are renewed once; the providers are away for six hours once a third of the first ones is due. */
async function oneRound(world: RefreshWorld, scale: SubscriptionScale, madeAt: Date, print: Print) {
  const step = scale.stepMinutes * 60
  const patience = patienceMs(scale)
  let outage: { callsWhileAway: number; worked_off_in_seconds: number } | undefined
  const next = async () =>
    (
      await world.db.query<{ seconds: number; left: number; done: number }>(
        `select greatest(0, extract(epoch from min(r.due_at) - auth.clock()))::float8 as seconds,
                count(*)::int as left, (select count(*)::int from auth.subscriptions where last_renewed_at > $1) as done
           from auth.subscription_renewals r join auth.subscriptions s on s.id = r.id where s.last_renewed_at <= $1`,
        [madeAt],
      )
    ).rows[0] ?? { seconds: 0, left: 0, done: 0 }
  for (;;) {
    const { seconds, left, done } = await next()
    if (left === 0) return { outage }
    if (outage === undefined && done >= scale.connections / 3) {
      const before = await callsOf(world)
      for (const provider of PROVIDERS) await world.control('/faults', { provider, subscriptionError: AWAY })
      for (let hour = 0; hour < OUTAGE_HOURS; hour += OUTAGE_STEP_HOURS) {
        await move(world, OUTAGE_STEP_HOURS * HOUR_SECONDS)
        await sleep(1_100)
        await settled(world, 0, patience)
      }
      for (const provider of PROVIDERS) await world.control('/faults', { provider, subscriptionError: null })
      const during = await callsOf(world)
      await loseAnswers(world)
      const startedMs = performance.now()
      // what waits is tried again within a quarter of an hour
      await pass(world, QUARTER_SECONDS, patience)
      outage = {
        callsWhileAway: PROVIDERS.reduce((sum, id) => sum + during[id].count - before[id].count, 0),
        worked_off_in_seconds: Math.round((performance.now() - startedMs) / 1_000),
      }
      print(`six hours without the providers: ${JSON.stringify(outage)}`)
      continue
    }
    await pass(world, Math.max(step, Math.ceil(seconds)), patience)
    print(`${done} of ${2 * scale.connections} renewed`)
  }
}

/** Longer than everything takes at four fifths of the limit, three times over. */
const patienceMs = ({ connections, perSecond }: SubscriptionScale) =>
  Math.max(180_000, (3 * 3 * connections * 1_000) / (0.8 * perSecond))

const AWAY = { status: 503, headers: {}, body: '{}', times: 1_000_000 }

/** A few calls take effect, and their answers are lost on the way. */
async function loseAnswers(world: RefreshWorld): Promise<void> {
  for (const provider of PROVIDERS) await world.control('/faults', { provider, leaseLost: LOST_ANSWERS })
}

/**
 * An answer that came too late for its deadline leaves what it made at the provider: what was to be stopped is tried again
 * within the hour, a channel of Google is found by its first message, a subscription of Graph by the listing of a day.
 */
async function endStrangers(world: RefreshWorld, scale: SubscriptionScale, print: Print): Promise<number> {
  const patience = patienceMs(scale)
  const found = await strangersOf(world)
  if (found.length > 0) print(`lives there and belongs to nobody here: ${JSON.stringify(found)}`)
  await world.control('/change', { provider: 'google', account: ACCOUNTS.google, what: 'file' })
  await pass(world, 4_000, patience)
  if (found.some(({ theirs }) => !theirs.includes('/'))) {
    await world.db.query(`update auth.call_pace set per_second = $1`, [scale.perSecond])
    await pass(world, 36 * HOUR_SECONDS, patience)
  }
  return found.length
}
