/**
 * OA-13 with kill -9 while subscriptions are created and while they are renewed, at moments all over both: afterwards each
 * connection lives exactly once at its provider. What a killed process left at Graph is found by listing, what it left at
 * Google by its first message.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { waitFor } from '../../src/moved-stack.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { ACCOUNTS, openRefreshWorld, type RefreshWorld } from '../../src/refresh-world.ts'
import { liveAt, move, settled } from '../../src/subscription-world.ts'

const EACH = 40
const ALL = 2 * EACH
const KILLS = 3

/** Kills the process once per round, each time later in its work; what it held comes again when its lease has passed. */
async function kill(world: RefreshWorld): Promise<void> {
  for (let n = 1; n <= KILLS; n += 1) {
    await sleep(40 * n)
    await world.kill(0)
    await world.start(0)
    await move(world, 61)
  }
}

async function expectEachOnce(world: RefreshWorld): Promise<void> {
  await settled(world, ALL)
  // leases of what was killed last, and waits of what was tried again
  await move(world, 1_000)
  await settled(world, ALL)
  await sleep(1_100)
  for (const provider of ['google', 'microsoft'] as const)
    await world.control('/change', { provider, account: ACCOUNTS[provider], what: 'file' })
  // a message of an orphan is answered first, and then it is written down that it has to be stopped
  const live = await waitFor(
    'each lives once',
    () => liveAt(world),
    ({ size }) => size === ALL,
  )
  await settled(world, ALL)
  const { rows } = await world.db.query<{ theirs: string | null }>(
    `select provider_subscription_id as theirs from auth.subscriptions where state = 'active'`,
  )
  expect(rows).toHaveLength(ALL)
  expect(rows.filter(({ theirs }) => !live.has(theirs ?? ''))).toEqual([])
}

test('OA-13 RE-01 killed while creating and while renewing: no orphan stays, nothing is subscribed twice', async () => {
  await onOwnDatabase(async (databaseUrl, directory) => {
    const world = await openRefreshWorld(databaseUrl, directory, 1, {
      environment: { MICROSOFT_WATCH: 'mail', GOOGLE_WATCH: 'drive', SUBSCRIPTION_CHECK_MINUTES: '1440' },
    })
    try {
      await world.start(0)
      await world.control('/faults', { provider: 'microsoft', duplicateSubscriptions: true })
      await world.db.query('update auth.refresh_pace set per_second = 1000')
      for (const provider of ['microsoft', 'google'] as const)
        await world.seed({ provider, count: EACH, validSeconds: 3_600, due: false })
      // each start reconciles: that creates them
      await kill(world)
      await expectEachOnce(world)
      await move(world, 4 * 24 * 3_600)
      await kill(world)
      await expectEachOnce(world)
    } finally {
      await world.close()
    }
  })
}, 240_000)
