/**
 * `MICROSOFT_RENEW_WITHIN_TOKEN=on` with hundreds of subscriptions of one process and tokens that live for 60 to 90 minutes:
 * Graph, here the simulator, says of each whose token stands behind it, and when it was renewed. Three hours of simulated
 * time in steps that are shorter than the room that is left before a token ends.
 */
import { expect, test } from 'vitest'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { openRefreshWorld, type RefreshWorld } from '../../src/refresh-world.ts'
import { clockOf, move, settled } from '../../src/subscription-world.ts'

const CONNECTIONS = 200
const HOURS = 3
const STEP_SECONDS = 120
/** By default Graph's changes have a pace of 25 a second (protocols/microsoft.md §2.8: 500 in 20 seconds for a tenant). */
const CHANGES_PER_SECOND = 25
const NOT_WITHIN_MS = 600_000

interface State {
  readonly microsoft: {
    readonly reauthorizeConflicts: number
    readonly subscriptions: readonly {
      readonly id: string
      readonly tokenEndsAt: number
      readonly renewedAt: number | null
    }[]
  }
}

async function watchOver(world: RefreshWorld) {
  const renewals = new Map<string, number[]>()
  const paused: string[] = []
  const look = async () => {
    const now = await clockOf(world)
    const { microsoft } = (await world.control('/state')) as State
    for (const { id, tokenEndsAt, renewedAt } of microsoft.subscriptions) {
      if (tokenEndsAt <= now) paused.push(`${id} for ${Math.round((now - tokenEndsAt) / 1_000)} s`)
      const known = renewals.get(id) ?? []
      if (renewedAt !== null && renewedAt !== known.at(-1)) renewals.set(id, [...known, renewedAt])
    }
    return microsoft
  }
  for (let passed = 0; passed < HOURS * 3_600; passed += STEP_SECONDS) {
    await move(world, STEP_SECONDS)
    await look()
    await settled(world, CONNECTIONS)
  }
  return { paused, renewals, microsoft: await look() }
}

test('WI-16 with tokens of 60 to 90 minutes each subscription is renewed before its token ends, none twice within ten minutes, at the pace of Graph', async () => {
  const seen = await onOwnDatabase(async (databaseUrl, directory) => {
    const world = await openRefreshWorld(databaseUrl, directory, 1, {
      environment: {
        MICROSOFT_WATCH: 'mail',
        MICROSOFT_RENEW_WITHIN_TOKEN: 'on',
        SUBSCRIPTION_CHECK_MINUTES: '1440',
      },
    })
    try {
      await world.start(0)
      await world.control('/faults', { provider: 'microsoft', oneStandsForMany: true })
      await world.seed({ provider: 'microsoft', count: CONNECTIONS, validSeconds: 3_600, due: false })
      await world.db.query(
        `update auth.chores set due_at = auth.clock(), lease_until = null, lease_id = null where id = 'reconcile-subscriptions'`,
      )
      await settled(world, CONNECTIONS)
      const watched = await watchOver(world)
      const calls = (await world.control('/calls/microsoft')) as { changes: { peakPerSecond: number } }
      const { rows } = await world.db.query<{ gaps: number; active: number }>(
        `select (select count(*)::int from auth.subscription_gaps) as gaps,
                count(*) filter (where state = 'active')::int as active from auth.subscriptions`,
      )
      return { ...watched, peak: calls.changes.peakPerSecond, row: rows[0] }
    } finally {
      await world.close()
    }
  })
  const all = [...seen.renewals.values()]
  console.log(
    `renewals of ${all.length}: ${all.reduce((sum, { length }) => sum + length, 0)}, peak ${seen.peak} a second`,
  )
  expect(seen.paused).toEqual([])
  expect(seen.row).toEqual({ gaps: 0, active: CONNECTIONS })
  expect(all).toHaveLength(CONNECTIONS)
  // half an hour to ninety minutes apart
  for (const times of all) expect(times.length).toBeGreaterThanOrEqual(2)
  const apart = all.flatMap((times) => times.slice(1).map((at, n) => at - (times[n] ?? 0)))
  expect(Math.min(...apart)).toBeGreaterThanOrEqual(NOT_WITHIN_MS)
  expect(seen.microsoft.reauthorizeConflicts).toBe(0)
  expect(seen.peak).toBeLessThanOrEqual(CHANGES_PER_SECOND)
}, 600_000)
