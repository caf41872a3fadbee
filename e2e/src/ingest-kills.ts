/**
 * F1, RE-01: the process that receives is killed (SIGKILL) again and again under load, in the middle of what it is storing.
 * What must hold: nothing acknowledged is lost, whoever sends sees broken connections and 503 alone, and within five
 * seconds after each kill something is acknowledged again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { holdStoring } from './hold-storing.ts'
import { judge, RETRY_MS, type Receiving, slowestRefusalMs, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'
import { seeded as random } from './seeded.ts'

export interface IngestKills {
  readonly seconds: number
  readonly perSecond: number
  readonly seed: number
  /** From a kill to the next acknowledgement. */
  readonly backWithinMs: number
}

/** Every third kill finds storing held up, so that it meets what is received and not committed. */
const HELD_EACH = 3
const HELD_MS = 300

/** The long form. */
export const ingestKillsAtSize = (print: Print): Promise<FaultResult> =>
  withReceiving({}, (world) =>
    killTheDoor(
      world,
      { seed: Date.now() % 1_000_000, seconds: 600, perSecond: 200, backWithinMs: 5_000 },
      print,
    ),
  )

export async function killTheDoor(world: Receiving, kills: IngestKills, print: Print): Promise<FaultResult> {
  print(`seed ${kills.seed}`)
  const chance = random(kills.seed)
  const sender = startSender([world.door], world.seeded, kills.perSecond, RETRY_MS)
  const back: number[] = []
  let heldAtKill = 0
  for (const end = performance.now() + kills.seconds * 1_000; performance.now() < end; ) {
    await sleep(1_000 + chance() * 2_000)
    const letGo = back.length % HELD_EACH === 0 ? await holdStoring(world.databaseUrl) : undefined
    if (letGo !== undefined) await sleep(HELD_MS)
    const before = sender.ledger.acknowledged.size
    if (letGo !== undefined) heldAtKill += sender.ledger.sent.size - before
    await world.door.child.kill('SIGKILL')
    const killedAt = performance.now()
    await letGo?.()
    await world.door.child.restart()
    while (sender.ledger.acknowledged.size === before && performance.now() - killedAt < 60_000) await sleep(5)
    back.push(Math.round(performance.now() - killedAt))
    if (back.length % 20 === 0) print(`${back.length} kills, ${sender.ledger.acknowledged.size} acknowledged`)
  }
  const { ledger } = await sender.stop()
  const { problems, figures } = await judge(world, ledger)
  const late = back.filter((ms) => ms > kills.backWithinMs)
  return {
    problems: [
      ...problems,
      ...(late.length > 0 ? [`not back within ${kills.backWithinMs} ms: ${late.join(', ')}`] : []),
      ...(heldAtKill === 0 ? ['no kill met a request that was not committed'] : []),
    ],
    figures: {
      ...figures,
      kills: back.length,
      longestUntilBackMs: Math.max(...back),
      receivedAndNotCommittedAtKills: heldAtKill,
      slowestRefusalMs: slowestRefusalMs(ledger),
      seed: kills.seed,
    },
  }
}
