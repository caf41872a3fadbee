/** What is looked at and waited for when subscriptions live through simulated time: by providers, by service, by clock. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { RefreshWorld } from './refresh-world.ts'

/** Ids of what lives at the providers, as we write them. */
export async function liveAt(world: { control(path: string): Promise<unknown> }): Promise<Set<string>> {
  const state = (await world.control('/state')) as {
    microsoft: { subscriptions: { id: string }[] }
    google: { channels: { id: string; resourceId: string }[] }
  }
  return new Set([
    ...state.microsoft.subscriptions.map(({ id }) => id),
    ...state.google.channels.map(({ id, resourceId }) => `${id}/${resourceId}`),
  ])
}

export async function clockOf(world: RefreshWorld): Promise<number> {
  const { rows } = await world.db.query<{ ms: number }>(
    'select (extract(epoch from auth.clock()) * 1000)::float8 as ms',
  )
  return rows[0]?.ms ?? 0
}

export async function move(world: RefreshWorld, seconds: number): Promise<void> {
  await world.advance(seconds)
  await world.db.query(
    `select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 1, (auth.clock() at time zone 'UTC')::date + 2)`,
  )
}

const PATIENCE_MS = 180_000

/**
 * Until no row of subscriptions is due or held. What waits for a later moment waits, except what a worker gave back for a
 * second, because another one was on its last try (claims are kept then): killed once more it would count as poison.
 */
export async function settled(
  world: { readonly db: pg.Pool | pg.Client },
  subscriptions: number,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  // the time once, not for each of ten thousand rows, and no more rows than the first: what watches must not be the load
  const now = '(select auth.clock())'
  const busy = (table: string) =>
    `exists (select from auth.${table} where due_at <= ${now} or lease_until > ${now}
              or (claims > 0 and due_at <= ${now} + interval '2 seconds'))`
  for (const end = Date.now() + patienceMs; Date.now() < end; await sleep(100)) {
    const { rows } = await world.db.query<{ busy: boolean; rows: number }>(
      `select ${busy('subscription_renewals')} or ${busy('subscription_checks')} or ${busy('subscription_stops')} as busy,
              (select count(*)::int from auth.subscriptions) as rows`,
    )
    if (rows[0]?.busy === false && rows[0].rows >= subscriptions) return
  }
  throw new Error(`not settled within ${patienceMs} ms`)
}
