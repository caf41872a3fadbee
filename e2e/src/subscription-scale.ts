/**
 * Ten thousand subscriptions on one worker: made, checked, renewed through a whole round, and through a provider that is
 * away for six hours in the middle of it. What must hold: no second with more calls at a provider than `per_second` (counted
 * by the providers), renewals spread over their window, nothing lapses, and the end of the outage is no storm.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { openRefreshWorld, type RefreshWorld } from './refresh-world.ts'
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

const PROVIDERS = ['microsoft', 'google'] as const
const HOUR_SECONDS = 3_600
const OUTAGE_HOURS = 6
const BARS = 12

/** The long form. */
export const scaleAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    subscriptionScale({ databaseUrl, directory, connections: 5_000, perSecond: 50, stepMinutes: 30 }, print),
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
      duplicateSubscriptions: true,
      oneStandsForMany: true,
    })
    // the list of an account holds its own few; here each would hold all
    await world.db.query(`alter table auth.subscription_checks alter column listed_at set default 'infinity'`)
    await world.db.query('update auth.call_pace set per_second = $1', [scale.perSecond])
    for (const provider of PROVIDERS)
      await world.seed({ provider, count: scale.connections, validSeconds: 3_600, due: false })
    // tokens are refreshed by whoever needs one here; their own storm is another fault
    await world.db.query('update auth.refresh_pace set per_second = 1000')
    await world.db.query(`update auth.refreshes set due_at = auth.clock() + interval '60 days'`)
    await world.db.query(
      `update auth.chores set due_at = auth.clock(), lease_until = null, lease_id = null where id = 'reconcile-subscriptions'`,
    )
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
    const end = await endOf(world, madeAt)
    for (const provider of PROVIDERS)
      expect(
        after[provider].peakPerSecond <= scale.perSecond,
        `${provider}: at most ${after[provider].peakPerSecond} calls within any second, of ${scale.perSecond} allowed`,
      )
    const live = await liveAt(world)
    expect(
      live.size === all && end.active === all,
      `${live.size} of ${all} live at their provider, ${end.active} here`,
    )
    expect(end.gaps === 0, `${end.gaps} lapsed or were lost`)
    expect(end.renewed === all, `${end.renewed} of ${all} were renewed`)
    return {
      problems,
      figures: {
        subscriptions: all,
        limitPerSecond: scale.perSecond,
        made_in_seconds: seconds,
        peakPerSecond: { microsoft: after.microsoft.peakPerSecond, google: after.google.peakPerSecond },
        calls: { microsoft: after.microsoft.count, google: after.google.count },
        unevenness: Number(unevenness.toFixed(2)),
        ...rounds,
        ...end,
      },
    }
  } finally {
    await world.close()
  }
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
      for (let hour = 0; hour < OUTAGE_HOURS; hour += 1) {
        await move(world, HOUR_SECONDS)
        await sleep(1_100)
        await settled(world, 0, patience)
      }
      for (const provider of PROVIDERS) await world.control('/faults', { provider, subscriptionError: null })
      const during = await callsOf(world)
      const startedMs = performance.now()
      // what waits is tried again within a quarter of an hour
      await move(world, 900)
      await sleep(1_100)
      await settled(world, 0, patience)
      outage = {
        callsWhileAway: PROVIDERS.reduce((sum, id) => sum + during[id].count - before[id].count, 0),
        worked_off_in_seconds: Math.round((performance.now() - startedMs) / 1_000),
      }
      print(`six hours without the providers: ${JSON.stringify(outage)}`)
      continue
    }
    await move(world, Math.max(step, Math.ceil(seconds)))
    await sleep(1_100)
    await settled(world, 0, patience)
    print(`${done} of ${2 * scale.connections} renewed`)
  }
}

/** Longer than everything takes at four fifths of the limit, three times over. */
const patienceMs = ({ connections, perSecond }: SubscriptionScale) =>
  Math.max(180_000, (3 * 3 * connections * 1_000) / (0.8 * perSecond))

const AWAY = { status: 503, headers: {}, body: '{}', times: 1_000_000 }

async function callsOf(world: RefreshWorld) {
  type Calls = { peakPerSecond: number; count: number }
  const [microsoft, google] = await Promise.all(
    PROVIDERS.map(async (provider) => (await world.control(`/calls/${provider}`)) as Calls),
  )
  const none = { peakPerSecond: 0, count: 0 }
  return { microsoft: microsoft ?? none, google: google ?? none }
}

/** When renewals are due, by provider: counts in equal parts of the window from the first to the last. */
async function spreadOf(world: RefreshWorld) {
  const { rows } = await world.db.query<{ provider: string; buckets: number[] }>(
    `with due as (
       select s.provider, extract(epoch from r.due_at - s.created_at)::float8 as after
         from auth.subscription_renewals r join auth.subscriptions s on s.id = r.id),
     ends as (select provider, min(after) as first, max(after) as last from due group by provider),
     counted as (
       select d.provider, least($1::int, width_bucket(d.after, e.first, e.last, $1::int)) as bucket, count(*)::int as n
         from due d join ends e using (provider) group by 1, 2)
     select e.provider, array_agg(coalesce(c.n, 0) order by b.bucket) as buckets
       from ends e cross join generate_series(1, $1::int) b (bucket)
       left join counted c on c.provider = e.provider and c.bucket = b.bucket group by e.provider order by 1`,
    [BARS],
  )
  return rows
}

const unevennessOf = (buckets: readonly number[]): number => {
  const mean = buckets.reduce((sum, n) => sum + n, 0) / buckets.length
  return Math.max(...buckets.map((n) => Math.abs(n - mean) / mean))
}

/** Four standard deviations of what falls into equal parts by chance. */
const chanceOf = ({ connections }: SubscriptionScale): number => 4 / Math.sqrt(connections / BARS)

function chart(buckets: readonly number[]): string[] {
  const most = Math.max(...buckets)
  return buckets.map((n) => `  ${String(n).padStart(5)} ${'#'.repeat(Math.round((40 * n) / most))}`)
}

async function endOf(world: RefreshWorld, madeAt: Date) {
  const { rows } = await world.db.query<{ active: number; gaps: number; renewed: number }>(
    `select count(*) filter (where state = 'active')::int as active,
            count(*) filter (where last_renewed_at > $1)::int as renewed,
            (select count(*)::int from auth.subscription_gaps) as gaps
       from auth.subscriptions`,
    [madeAt],
  )
  return rows[0] ?? { active: 0, gaps: 0, renewed: 0 }
}
