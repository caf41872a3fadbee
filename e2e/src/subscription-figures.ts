/**
 * What is counted of subscriptions at scale: calls as the providers saw them, when renewals are due, what lives at a provider
 * and is nobody's here, and how it all ended. Asks; changes nothing.
 */
import type { RefreshWorld } from './refresh-world.ts'
import { liveAt } from './subscription-world.ts'

export const PROVIDERS = ['microsoft', 'google'] as const
const BARS = 12

export async function callsOf(world: RefreshWorld) {
  type Counted = { peakPerSecond: number; count: number }
  type Calls = Counted & { reads: Counted; changes: Counted; lists: Counted }
  const [microsoft, google] = await Promise.all(
    PROVIDERS.map(async (provider) => (await world.control(`/calls/${provider}`)) as Calls),
  )
  if (microsoft === undefined || google === undefined) throw new Error('the providers counted no calls')
  return { microsoft, google }
}

/** When renewals are due, by provider: counts in equal parts of the window from the first to the last. */
export async function spreadOf(world: RefreshWorld) {
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

export const unevennessOf = (buckets: readonly number[]): number => {
  const mean = buckets.reduce((sum, n) => sum + n, 0) / buckets.length
  return Math.max(...buckets.map((n) => Math.abs(n - mean) / mean))
}

/** Four standard deviations of what falls into equal parts by chance. */
export const chanceOf = ({ connections }: { readonly connections: number }): number =>
  4 / Math.sqrt(connections / BARS)

export function chart(buckets: readonly number[]): string[] {
  const most = Math.max(...buckets)
  return buckets.map((n) => `  ${String(n).padStart(5)} ${'#'.repeat(Math.round((40 * n) / most))}`)
}

/** What lives at a provider and is no active subscription here, with the stop that waits for it. */
export async function strangersOf(world: RefreshWorld) {
  const live = [...(await liveAt(world))]
  const { rows } = await world.db.query<{
    theirs: string
    stop_in_seconds: number | null
    attempts: number | null
  }>(
    `select l.theirs, extract(epoch from p.due_at - auth.clock())::int as stop_in_seconds, p.attempts
       from unnest($1::text[]) l (theirs)
       left join auth.subscriptions s on s.provider_subscription_id = l.theirs and s.state = 'active'
       left join auth.subscription_stops p on p.provider_subscription_id = l.theirs
      where s.id is null`,
    [live],
  )
  return rows
}

export async function endOf(world: RefreshWorld, madeAt: Date) {
  const { rows } = await world.db.query<{
    active: number
    gaps: number
    lapses: string
    renewed: number
    stops: number
  }>(
    `select count(*) filter (where state = 'active')::int as active,
            count(*) filter (where last_renewed_at > $1)::int as renewed,
            (select count(*)::int from auth.subscription_gaps where reason <> 'missed') as gaps,
            (select coalesce(string_agg(g.reason || ' ' || s.provider || ' ' || g.from_at || ' to ' || coalesce(g.to_at::text, 'now'), '; '), '')
               from auth.subscription_gaps g join auth.subscriptions s on s.id = g.subscription_id where g.reason <> 'missed') as lapses,
            (select count(*)::int from auth.subscription_stops) as stops
       from auth.subscriptions`,
    [madeAt],
  )
  return rows[0] ?? { active: 0, gaps: 0, lapses: '', renewed: 0, stops: 0 }
}
