import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EmbeddedDatabase } from '../../../local/src/database.ts'
import { killPostgres } from '../../src/kill-postgres.ts'
import {
  type Answer,
  isAcknowledgement,
  joinLedgers,
  type SenderLedger,
  waitForDeliveries,
} from '../../src/ledgers.ts'
import { type FaultWorld, openFaultWorld } from './world.ts'

const COUNT = 2_000
const DOWN_MS = 3_000
const DELIVERED_WITHIN_MS = 90_000

let world: FaultWorld
const ledgers: SenderLedger[] = []

beforeAll(async () => {
  world = await openFaultWorld()
}, 120_000)

afterAll(() => world?.close())

describe('PostgreSQL taken away in a burst of 2,000 notifications', () => {
  it(
    'F3 WI-14 stopped like a crash: 503 within 2.5 s, then Auth recovers by itself within 10 s',
    () => crashInBurst('immediate', 1, (database) => database.stop('immediate')),
    120_000,
  )

  it(
    'F3 WI-14 RE-02 postmaster and children killed with SIGKILL: the same',
    () => crashInBurst('SIGKILL', COUNT + 1, killPostgres),
    120_000,
  )

  it('F3 RE-01 RE-02 everything acknowledged in both bursts is stored once and delivered', async () => {
    const ledger = joinLedgers(ledgers)
    await waitForDeliveries(ledger, () => world.stack.receiver.received(), DELIVERED_WITHIN_MS)
    const sums = await world.balanceOf(ledger)
    console.log('PostgreSQL crashed twice:', sums)
    expect(sums.problems).toEqual([])
    expect(sums).toMatchObject({
      sent: 2 * COUNT,
      acknowledged: 2 * COUNT,
      stored: 2 * COUNT,
      delivered: 2 * COUNT,
    })
  }, 120_000)
})

async function crashInBurst(
  how: string,
  from: number,
  crash: (database: EmbeddedDatabase) => Promise<void>,
): Promise<void> {
  const { stack } = world
  const database = stack.database.embedded
  if (database === undefined) throw new Error('these tests need the embedded PostgreSQL')
  const pid = stack.auth.pid
  const burst = world.burst(from, COUNT)
  ledgers.push(burst.ledger)
  await burst.reached(600)
  await crash(database)
  const downFrom = Date.now()
  const acknowledgedBefore = burst.ledger.acknowledged.size
  await sleep(DOWN_MS)
  const downUntil = Date.now()
  await database.start()
  const upAt = Date.now()
  await burst.done

  const answers = [...burst.ledger.sent.values()].flat()
  const whileDown = answers.filter(({ sentAt, answeredAt }) => sentAt >= downFrom && answeredAt <= downUntil)
  const refused = answers.filter(({ status }) => !isAcknowledgement(status))
  const slowestMs = Math.max(...refused.map(durationOf))
  const recoveredMs =
    Math.min(
      ...answers.filter((a) => isAcknowledgement(a.status) && a.answeredAt > upAt).map((a) => a.answeredAt),
    ) - upAt
  console.log(`PostgreSQL crashed (${how}):`, {
    acknowledgedBefore,
    acknowledged: burst.ledger.acknowledged.size,
    refused: refused.length,
    refusedWhileDown: whileDown.length,
    slowestRefusalMs: slowestMs,
    recoveredAfterMs: recoveredMs,
  })

  expect(acknowledgedBefore).toBeLessThan(COUNT)
  expect(whileDown.length).toBeGreaterThan(0)
  expect(whileDown.filter(({ status }) => isAcknowledgement(status))).toEqual([])
  expect(
    refused.filter(({ status, retryAfter }) => status !== 503 || !/^\d+$/.test(retryAfter ?? '')),
  ).toEqual([])
  expect(slowestMs).toBeLessThanOrEqual(2_500)
  expect(burst.ledger.acknowledged.size).toBe(COUNT)
  expect(recoveredMs).toBeLessThanOrEqual(10_000)
  expect(stack.auth.pid).toBe(pid)
}

const durationOf = ({ sentAt, answeredAt }: Answer) => answeredAt - sentAt
