/**
 * Weeks of simulated time for many connections of both providers, on a real process, with faults by a seed
 * (subscription-faults.ts), and a person of each provider who takes the access back and connects again. What must hold: a
 * living connection is never without a subscription that pushes for longer than its check interval and the provider's
 * delay, counted from the first change that was not pushed; each one that ended or fell silent leaves a gap and an event;
 * none lives twice at its provider; and every kind of fault did occur.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { connectPerson, type Person } from './reconnecting.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { ACCOUNTS, openRefreshWorld, type RefreshWorld } from './refresh-world.ts'
import { SCOPES } from './seed-grants.ts'
import { seeded } from './seeded.ts'
import { faultDealer, KINDS, type Lost, noFaultsYet } from './subscription-faults.ts'
import { clockOf, liveAt, move, settled } from './subscription-world.ts'

export interface SubscriptionWeeks {
  readonly databaseUrl: string
  readonly directory: string
  /** Of each provider. */
  readonly connections: number
  readonly days: number
  readonly stepHours: number
  readonly seed: number
  readonly faultsAStep: number
}

const HOUR_MS = 3_600_000
/** 240 minutes and up to half as much again. */
const CHECK_MINUTES = 240
const CHECK_MS = CHECK_MINUTES * 1.5 * 60_000
/** Drive's, the longer one of the two. */
const DELAY_MS = 10 * 60_000
/** The moves of the clock beyond the delay, and real time that passes meanwhile. */
const SLACK_MS = 6 * 60_000
/** Are checked every ten to fifteen minutes. */
const WATCHED_CLOSELY = 50
const CLOSELY_SECONDS = 600
/** At the end without faults, so that what was lost last is found. */
const QUIET_STEPS = 3
const PROVIDERS = ['microsoft', 'google'] as const

/** The long form. */
export const weeksAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    subscriptionWeeks(
      { databaseUrl, directory, connections: 500, days: 30, stepHours: 6, seed: 20_261_124, faultsAStep: 2 },
      print,
    ),
  )

export async function subscriptionWeeks(weeks: SubscriptionWeeks, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const random = seeded(weeks.seed)
  const world = await openRefreshWorld(weeks.databaseUrl, weeks.directory, 1, {
    environment: {
      // thirty days of steps and the delays after them: what is counted at the end must still be there
      RETENTION_DAYS: '60',
      MICROSOFT_WATCH: 'mail',
      GOOGLE_WATCH: 'drive',
      SUBSCRIPTION_CHECK_MINUTES: String(CHECK_MINUTES),
    },
  })
  const counts = noFaultsYet()
  const lost = new Map<string, Lost>()
  try {
    await world.start(0)
    // many connections of one account stand for many accounts
    await world.control('/faults', { provider: 'microsoft', oneStandsForMany: true })
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
      `update auth.subscription_checks set every_seconds = ${CLOSELY_SECONDS}, due_at = auth.clock()
        where id in (select id from auth.subscriptions where connection_id <> all($1) order by id limit ${WATCHED_CLOSELY})`,
      [people.map(({ connectionId }) => connectionId)],
    )
    print(`${all} connections are subscribed; seed ${weeks.seed}`)

    // what was just made is not renewed within ten minutes
    await pass(world, CLOSELY_SECONDS * 1.5, all)
    const steps = Math.round((weeks.days * 24) / weeks.stepHours)
    const deal = faultDealer({ world, people, random, lost, counts, faultsAStep: weeks.faultsAStep })
    const found = await finder(world, lost)
    for (let step = 1; step <= steps; step += 1) {
      for (const person of people) await connectAgain(world, person)
      const isRefusing = step <= steps - QUIET_STEPS && (await deal())
      const changedAtMs = await clockOf(world)
      for (const one of lost.values()) {
        one.changedAtMs ??= changedAtMs
        if (isRefusing) one.excusedMs += weeks.stepHours * HOUR_MS
      }
      await world.control('/change', { provider: 'google', account: ACCOUNTS.google, what: 'file' })
      await world.control('/message', { provider: 'microsoft', account: ACCOUNTS.microsoft })
      await settled(world, all)
      // what is checked every ten to fifteen minutes; then everything else; each time with the provider's delay
      await pass(world, CLOSELY_SECONDS * 1.5, all)
      await found(CLOSELY_SECONDS * 1_500, ({ isWatchedClosely }) => isWatchedClosely)
      for (const provider of PROVIDERS)
        await world.control('/faults', {
          provider,
          subscriptionError: null,
          renewalError: null,
          leaseLost: false,
        })
      await pass(world, weeks.stepHours * 3_600, all)
      await found(CHECK_MS, () => true)
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
    const { late, gapped, healed, longest } = found.figures
    expect(
      lost.size === 0 && late.length === 0,
      `${gapped + healed} pushed no more, all were replaced in time (late: ${JSON.stringify(late)}, never: ${lost.size})`,
    )
    expect(
      KINDS.every((kind) => counts[kind] > 0),
      `each kind of fault occurred: ${JSON.stringify(counts)}`,
    )
    expect(end.active === all && end.live === all, `${end.live} of ${all} live at their provider`)
    expect(live.size === all, `${live.size} live there in all: none twice, none left over`)
    expect(end.open === 0, `${end.open} gaps last`)
    const forced = gapped + counts.missed_told
    expect(
      end.gaps >= forced && end.told >= forced && found.figures.unwritten === 0,
      `${end.gaps} gaps written down, ${end.told} events, for ${forced} that faults forced`,
    )
    return {
      problems,
      figures: {
        seed: weeks.seed,
        connections: all,
        days: weeks.days,
        faults: counts,
        pushed_no_more: gapped + healed,
        renewed_before_it_was_found: healed,
        longest_minutes: longest,
        written_as: found.figures.writtenAs,
        ...end,
      },
    }
  } finally {
    await world.close()
  }
}

/** Time passes, then the provider's delay: what was suspected is looked at again. */
async function pass(world: RefreshWorld, seconds: number, all: number): Promise<void> {
  for (const part of [seconds, DELAY_MS / 1_000 + 60]) {
    await move(world, part)
    // a process in local mode follows the moved clock within a second
    await sleep(1_100)
    await settled(world, all)
  }
}

/** Looks for what is lost: another one lives in its place, and its gap is written down. */
async function finder(world: RefreshWorld, lost: Map<string, Lost>) {
  const figures = {
    gapped: 0,
    /** A renewal replaced it before any check was due. */
    healed: 0,
    unwritten: 0,
    /** Which fault was written down as which gap. */
    writtenAs: {} as Record<string, number>,
    late: [] as string[],
    longest: { checked_closely: 0, checked_six_hourly: 0 },
  }
  const look = async (checkMs: number, which: (one: Lost) => boolean) => {
    const live = await liveAt(world)
    const nowMs = await clockOf(world)
    for (const [theirs, one] of lost) {
      const { rows } = await world.db.query<{ theirs: string | null; gap: string | null }>(
        `select s.provider_subscription_id as theirs,
                (select reason from auth.subscription_gaps g
                  where g.subscription_id = s.id and g.created_at >= to_timestamp($2 / 1000.0)
                  order by g.id limit 1) as gap
           from auth.subscriptions s where s.id = $1`,
        [one.subscription, one.dealtAtMs],
      )
      const current = rows[0]?.theirs ?? ''
      const deadMs = nowMs - (one.changedAtMs ?? nowMs) - one.excusedMs
      const isReplaced = current !== theirs && live.has(current)
      const isOver = which(one) && deadMs > checkMs + DELAY_MS + SLACK_MS
      const gap = rows[0]?.gap ?? undefined
      if (isReplaced && gap !== undefined) {
        figures.gapped += 1
        const as = `${one.kind}: ${gap}`
        figures.writtenAs[as] = (figures.writtenAs[as] ?? 0) + 1
        const group = one.isWatchedClosely ? 'checked_closely' : 'checked_six_hourly'
        if (one.excusedMs === 0)
          figures.longest[group] = Math.max(figures.longest[group], Math.round(deadMs / 60_000))
      } else if (!isOver) continue
      else if (!isReplaced) figures.late.push(`${one.kind} after ${Math.round(deadMs / 60_000)} minutes`)
      else if (one.kind === 'fell_silent') figures.healed += 1
      else figures.unwritten += 1
      lost.delete(theirs)
    }
  }
  return Object.assign(look, { figures })
}

/** Whose access is gone connects again. */
async function connectAgain(world: RefreshWorld, person: Person): Promise<void> {
  const { rows } = await world.db.query<{ status: string }>(
    'select status from auth.oauth_tokens where id = $1',
    [person.connectionId],
  )
  if (rows[0]?.status !== 'active') await person.reconnect()
}
