import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { holdSettling, holdStoring } from '../../src/hold-storing.ts'
import { waitForDeliveries } from '../../src/ledgers.ts'
import { type FaultWorld, openFaultWorld } from './world.ts'

const COUNT = 2_000
/** What the killed process had claimed comes back when its lease of 45 s has passed. */
const DELIVERED_WITHIN_MS = 90_000

let world: FaultWorld

beforeAll(async () => {
  world = await openFaultWorld()
}, 120_000)

afterAll(() => world?.close())

describe('kill -9 of Auth, twice, in a burst of 2,000 notifications', () => {
  it('F1 F2 DO-09 RE-01 loses nothing that was acknowledged: stored once, delivered at least once', async () => {
    const { stack } = world
    const killed = stack.auth.pid
    const burst = world.burst(1, COUNT)
    await burst.reached(700)
    const letGo = await holdStoring(stack.database.url)
    const acknowledgedBefore = burst.ledger.acknowledged.size
    await sleep(400)
    const acknowledgedWhileHeld = burst.ledger.acknowledged.size - acknowledgedBefore
    await stack.auth.kill('SIGKILL')
    const killedAt = Date.now()
    await letGo()
    await stack.auth.restart()
    // A second time, with deliveries under way: what was claimed has to come back by its lease.
    await burst.reached(1_400)
    const letSettle = await holdSettling(stack.database.url)
    await resultsWait(stack.database.url)
    await stack.auth.kill('SIGKILL')
    const claimedAtKill = await countClaimed(stack.database.url)
    await endWaiting(stack.database.url)
    await letSettle()
    await stack.auth.restart()
    await burst.done
    const lastAcknowledged = Date.now()
    await waitForDeliveries(burst.ledger, () => stack.receiver.received(), DELIVERED_WITHIN_MS)

    const sums = await world.balanceOf(burst.ledger)
    console.log('kill -9 of Auth:', {
      ...sums,
      acknowledgedBefore,
      acknowledgedWhileHeld,
      claimedAtKill,
      acknowledgedAllAfterMs: lastAcknowledged - killedAt,
      deliveredAllAfterMs: Date.now() - killedAt,
    })
    expect(sums.problems).toEqual([])
    expect(sums).toMatchObject({ sent: COUNT, acknowledged: COUNT, stored: COUNT, delivered: COUNT })
    // The kills did fall into the burst and its deliveries, and a new process went on.
    expect(acknowledgedBefore).toBeLessThan(COUNT)
    expect(claimedAtKill).toBeGreaterThan(0)
    expect(sums.duplicates).toBeGreaterThan(0)
    expect(sums.refused[0]).toBeGreaterThan(0)
    expect(Object.keys(sums.refused).filter((status) => !['0', '503'].includes(status))).toEqual([])
    expect(stack.auth.pid).not.toBe(killed)
  }, 240_000)
})

const WAITING = `from pg_stat_activity where application_name like 'flovify-%' and wait_event_type = 'Lock'`

/** Until something was sent and answered, and cannot be written down. */
async function resultsWait(databaseUrl: string): Promise<void> {
  while ((await ask(databaseUrl, `select pid ${WAITING}`)).length === 0) await sleep(20)
}

/** What a killed process has asked for is still done once its lock is free: here it dies with it, unwritten. */
const endWaiting = (databaseUrl: string) => ask(databaseUrl, `select pg_terminate_backend(pid) ${WAITING}`)

async function countClaimed(databaseUrl: string): Promise<number> {
  const [row] = await ask<{ claimed: number }>(
    databaseUrl,
    'select count(*)::int as claimed from auth.deliveries where lease_until > auth.clock()',
  )
  return row?.claimed ?? 0
}

async function ask<Row extends pg.QueryResultRow>(databaseUrl: string, statement: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<Row>(statement)
  await client.end()
  return rows
}
