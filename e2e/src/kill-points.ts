/**
 * Points at which calls about subscriptions stand still until they are let go, so that a process can be killed at each of
 * them: before the secret is written, before the call leaves, on arrival, carried out and not answered, answered and not
 * written down. What holds them is outside the process: a lock on the row that it needs next, or a provider that takes
 * its time.
 */
import type pg from 'pg'
import type { RefreshWorld } from './refresh-world.ts'
import { waitUntil } from './wait-until.ts'

export type Point =
  | 'claimed'
  | 'secret written'
  | 'call arrived'
  | 'carried out'
  | 'call answered'
  | 'written down'

export interface Stand {
  readonly point: Point
  /** Whose subscriptions are concerned. */
  readonly connections: readonly string[]
  /** How many calls come to the point. */
  readonly calls: number
  /** Asked for the last point alone. */
  readonly isWritten: () => Promise<boolean>
}

export interface Held {
  /** Until everything that was provoked stands at the point. */
  reached(): Promise<void>
  /** The locks; what the provider holds stays. */
  unlock(): Promise<void>
  /** What the provider holds goes on, also for a caller that is dead. */
  release(): Promise<void>
}

const PROVIDERS = ['microsoft', 'google'] as const
const OWN = '(select id from auth.subscriptions where connection_id = any($1))'

/** @returns once everything that comes to the point will stand there */
export async function holdAt(world: RefreshWorld, stand: Stand): Promise<Held> {
  const { point, connections, calls, isWritten } = stand
  const locks = await world.db.connect()
  await locks.query('begin')
  const release = () => hold(world, null)
  const held = (reached: () => Promise<void>): Held => ({
    reached,
    release,
    async unlock() {
      await locks.query('rollback')
      locks.release()
    },
  })
  switch (point) {
    case 'claimed':
      await locks.query(`select from auth.subscriptions where id in ${OWN} for update`, [connections])
      return held(() => blocked(world, 'set (channel|next)_secret_hash', calls))
    case 'secret written':
      await locks.query(`select from auth.call_pace where provider like '%/changes' for update`)
      return held(() => blocked(world, 'update auth.call_pace', calls))
    case 'call arrived':
      await hold(world, 'before')
      return held(() => holding(world, calls))
    case 'carried out':
      await hold(world, 'after')
      return held(() => holding(world, calls))
    case 'call answered':
      await hold(world, 'before')
      return held(async () => {
        await holding(world, calls)
        await lockWhatSettles(locks, connections)
        await release()
        await blocked(world, 'update auth.subscription_renewals|delete from auth.subscription_stops', calls)
      })
    case 'written down':
      return held(() => waitUntil('it is written down', isWritten))
    default:
      throw new Error(`unknown point ${point satisfies never}`)
  }
}

async function lockWhatSettles(locks: pg.PoolClient, connections: readonly string[]): Promise<void> {
  await locks.query(`select from auth.subscription_renewals where id in ${OWN} for update`, [connections])
  await locks.query('select from auth.subscription_stops where connection_id = any($1) for update', [
    connections,
  ])
}

async function hold(world: RefreshWorld, at: 'before' | 'after' | null): Promise<void> {
  for (const provider of PROVIDERS)
    await world.control('/faults', { provider, holdLease: at === null ? null : { what: 'any', at } })
}

/** At the providers. */
async function holding(world: RefreshWorld, calls: number): Promise<void> {
  await waitUntil(`the providers hold ${calls} calls`, async () => {
    const state = (await world.control('/state')) as Record<string, { holding: number }>
    return PROVIDERS.reduce((sum, provider) => sum + (state[provider]?.holding ?? 0), 0) >= calls
  })
}

/** At a lock of ours. @param statement regular expression of what they wait with */
async function blocked(world: RefreshWorld, statement: string, calls: number): Promise<void> {
  await waitUntil(`${calls} are blocked with ${statement}`, async () => {
    const { rows } = await world.db.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and query ~ $1`,
      [statement],
    )
    return (rows[0]?.n ?? 0) >= calls
  })
}
