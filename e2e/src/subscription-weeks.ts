/**
 * Weeks of simulated time for many connections of both providers, on a real process, with faults by a seed: subscriptions
 * that vanish without a word, pushes that are lost, calls that are refused and throttled, kill -9, and a person of each
 * provider who takes the access back and connects again. What must hold: a living
 * connection is never without a live subscription for longer than its check interval and the provider's delay, counted from
 * the first change that was not pushed; each vanished one leaves a gap and an event; none lives twice at its provider.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { connectPerson, type Person } from './reconnecting.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { ACCOUNTS, openRefreshWorld, type ProviderName, type RefreshWorld, SCOPES } from './refresh-world.ts'
import { seeded } from './seeded.ts'
import { clockOf, liveAt, move, settled } from './subscription-world.ts'

export interface SubscriptionWeeks {
  readonly databaseUrl: string
  readonly directory: string
  /** Of each provider. */
  readonly connections: number
  readonly days: number
  readonly stepHours: number
  readonly seed: number
}

const HOUR_MS = 3_600_000
/** 240 minutes and up to half as much again. */
const CHECK_MINUTES = 240
const CHECK_MS = CHECK_MINUTES * 1.5 * 60_000
/** Drive's, the longer one of the two. */
const DELAY_MS = 10 * 60_000
/** Are checked every ten to fifteen minutes: with each step here. */
const WATCHED_CLOSELY = 50
const PROVIDERS = ['microsoft', 'google'] as const

/** The long form. */
export const weeksAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    subscriptionWeeks(
      { databaseUrl, directory, connections: 500, days: 30, stepHours: 6, seed: 20_261_124 },
      print,
    ),
  )

interface Lost {
  readonly subscription: string
  /** Simulated; undefined until something changed. */
  changedAtMs: number | undefined
  /** Steps in which calls were refused: what is tried again after minutes is looked at here after a step. */
  excusedMs: number
}

export async function subscriptionWeeks(weeks: SubscriptionWeeks, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const random = seeded(weeks.seed)
  const world = await openRefreshWorld(weeks.databaseUrl, weeks.directory, 1, {
    environment: {
      MICROSOFT_WATCH: 'mail',
      GOOGLE_WATCH: 'drive',
      SUBSCRIPTION_CHECK_MINUTES: String(CHECK_MINUTES),
    },
  })
  const counts = { vanished: 0, lostPushes: 0, refused: 0, throttled: 0, kills: 0, withdrawn: 0 }
  const lost = new Map<string, Lost>()
  let longestMs = 0
  let late = 0
  try {
    await world.start(0)
    // many connections of one account stand for many accounts
    await world.control('/faults', { provider: 'microsoft', duplicateSubscriptions: true })
    await world.db.query('update auth.refresh_pace set per_second = 1000')
    await world.db.query('update auth.call_pace set per_second = 1000')
    for (const provider of PROVIDERS)
      await world.seed({ provider, count: weeks.connections, validSeconds: 3_600, due: false })
    await world.db.query(
      `update auth.chores set due_at = auth.clock(), lease_until = null, lease_id = null where id = 'reconcile-subscriptions'`,
    )
    const people: Person[] = []
    for (const provider of PROVIDERS) people.push(await connectPerson(world, provider, SCOPES[provider]))
    const all = 2 * weeks.connections + people.length
    await settled(world, all)
    await world.db.query(
      `update auth.subscription_checks set every_seconds = 600
        where id in (select id from auth.subscriptions where connection_id <> all($1) order by id limit ${WATCHED_CLOSELY})`,
      [people.map(({ connectionId }) => connectionId)],
    )
    print(`${all} connections are subscribed; seed ${weeks.seed}`)

    const steps = Math.round((weeks.days * 24) / weeks.stepHours)
    for (let step = 1; step <= steps; step += 1) {
      await move(world, weeks.stepHours * 3_600)
      // a process in local mode follows the moved clock within a second
      await sleep(1_100)
      const now = await clockOf(world)
      await personOf(world, people[step % people.length], random, step < steps - 8, counts)
      const isRefusing = step < steps - 4 && (await inflict(world, people, random, lost, counts))
      const losePushes = random() < 0.01 && step < steps - 4
      for (const provider of PROVIDERS) {
        if (losePushes) await world.control('/faults', { provider, losePushes: true })
        await world.control('/change', { provider, account: ACCOUNTS[provider], what: 'file' })
        if (provider === 'microsoft')
          await world.control('/message', { provider, account: ACCOUNTS[provider] })
        if (losePushes) await world.control('/faults', { provider, losePushes: false })
      }
      if (losePushes) counts.lostPushes += 1
      for (const one of lost.values()) {
        one.changedAtMs ??= now
        if (isRefusing) one.excusedMs += weeks.stepHours * HOUR_MS
      }
      await settled(world, all)
      // the provider's delay has passed too: what was suspected is looked at again
      await move(world, (DELAY_MS + 60_000) / 1_000)
      await settled(world, all)
      for (const provider of PROVIDERS) await world.control('/faults', { provider, subscriptionError: null })
      const live = await liveAt(world)
      const after = await clockOf(world)
      for (const [theirs, { subscription, changedAtMs, excusedMs }] of lost) {
        const row = await world.db.query<{ theirs: string | null }>(
          'select provider_subscription_id as theirs from auth.subscriptions where id = $1',
          [subscription],
        )
        const current = row.rows[0]?.theirs ?? ''
        const deadMs = changedAtMs === undefined ? 0 : after - changedAtMs - excusedMs
        if (current !== theirs && live.has(current)) {
          longestMs = Math.max(longestMs, deadMs)
          lost.delete(theirs)
        } else if (deadMs > CHECK_MS + DELAY_MS + weeks.stepHours * HOUR_MS) late += 1
      }
      if (step % Math.max(1, Math.round(steps / 10)) === 0)
        print(
          `day ${Math.round((step * weeks.stepHours) / 24)}: ${JSON.stringify(counts)}, ${lost.size} not found yet`,
        )
    }
    await settled(world, all)
    const live = await liveAt(world)
    const { rows } = await world.db.query<{
      active: number
      live: number
      gaps: number
      told: number
      open: number
      stops: number
    }>(
      `select count(*) filter (where s.state = 'active')::int as active,
              count(*) filter (where s.provider_subscription_id = any($1))::int as live,
              (select count(*)::int from auth.subscription_gaps where reason <> 'replaced') as gaps,
              (select count(*)::int from auth.subscription_gaps where to_at is null) as open,
              (select count(*)::int from auth.subscription_stops) as stops,
              (select count(*)::int from auth.events where type ~ 'subscription.v1.(missed|removed|expired)$') as told
         from auth.subscriptions s`,
      [[...live]],
    )
    const end = rows[0] ?? { active: 0, live: 0, gaps: 0, told: 0, open: 0, stops: 0 }
    expect(
      lost.size === 0 && late === 0,
      `${counts.vanished} vanished, all were found in time (${late} late, ${lost.size} never)`,
    )
    expect(end.active === all && end.live === all, `${end.live} of ${all} live at their provider`)
    expect(live.size === all, `${live.size} live there in all: none twice, none left over`)
    expect(end.open === 0, `${end.open} gaps last`)
    expect(
      end.gaps >= counts.vanished && end.told >= counts.vanished,
      `${end.gaps} gaps written down, ${end.told} events`,
    )
    return {
      problems,
      figures: {
        seed: weeks.seed,
        connections: all,
        days: weeks.days,
        ...counts,
        longest_without_a_live_one_minutes: Math.round(longestMs / 60_000),
        ...end,
      },
    }
  } finally {
    await world.close()
  }
}

/** One step's faults. Each is rare; the choices come from the seed. @returns whether calls are refused */
async function inflict(
  world: RefreshWorld,
  people: readonly Person[],
  random: () => number,
  lost: Map<string, Lost>,
  counts: { vanished: number; refused: number; throttled: number; kills: number },
): Promise<boolean> {
  const provider: ProviderName = random() < 0.5 ? 'microsoft' : 'google'
  const answer = (status: number, headers: Record<string, string>) =>
    world.control('/faults', { provider, subscriptionError: { status, headers, body: '{}', times: 5 } })
  const refusal = random()
  if (refusal < 0.1) {
    counts.refused += 5
    await answer(503, {})
  } else if (refusal < 0.2) {
    counts.throttled += 5
    await answer(429, { 'retry-after': '30' })
  }
  if (random() < 0.05) {
    counts.kills += 1
    await world.kill(0)
    await world.start(0)
  }
  if (random() >= 0.3) return refusal < 0.2
  const { rows } = await world.db.query<{ id: string; provider: ProviderName; theirs: string }>(
    `select id, provider, provider_subscription_id as theirs from auth.subscriptions
      where state = 'active' and connection_id <> all($2) order by md5(id || $1) limit 2`,
    [String(random()), people.map(({ connectionId }) => connectionId)],
  )
  for (const row of rows) {
    await world.control('/lose', {
      provider: row.provider,
      account: ACCOUNTS[row.provider],
      id: row.theirs.split('/')[0],
    })
    counts.vanished += 1
    lost.set(row.theirs, { subscription: row.id, changedAtMs: undefined, excusedMs: 0 })
  }
  return refusal < 0.2
}

/** Whose access is gone connects again; whose access is there takes it back now and then. */
async function personOf(
  world: RefreshWorld,
  person: Person | undefined,
  random: () => number,
  mayWithdraw: boolean,
  counts: { withdrawn: number },
): Promise<void> {
  if (person === undefined) return
  const { rows } = await world.db.query<{ status: string }>(
    'select status from auth.oauth_tokens where id = $1',
    [person.connectionId],
  )
  if (rows[0]?.status !== 'active') await person.reconnect()
  else if (random() < 0.15 && mayWithdraw) {
    await person.withdraw()
    counts.withdrawn += 1
  }
}
