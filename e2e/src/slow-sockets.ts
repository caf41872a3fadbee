/**
 * WI-07: thousands of sockets that send their headers or their bodies a byte at a time, half of them deaf to the end that
 * they are told, beside genuine notifications. What must hold: each of them is cut within eleven seconds, and the genuine
 * ones are acknowledged meanwhile.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { judge, RETRY_MS, type Receiving, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'

export interface SlowSockets {
  /** With slow headers, and as many with slow bodies. */
  readonly each: number
  readonly rounds: number
  readonly genuineP99Ms: number
}

const CUT_MS = 11_000
/** Of the client's own clock, which thousands of sockets slow down. */
const GRACE_MS = 1_000
const BYTE_EACH_MS = 1_000
/** Who is deaf sees that he is cut with the next byte only. */
const DEAF_BYTE_EACH_MS = 250
const GIVEN_UP_MS = 30_000

/** The long form. */
export const slowSocketsAtSize = (print: Print): Promise<FaultResult> =>
  withReceiving({}, (world) => holdSlowSockets(world, { each: 1_000, rounds: 3, genuineP99Ms: 1_000 }, print))

export async function holdSlowSockets(
  world: Receiving,
  run: SlowSockets,
  print: Print,
): Promise<FaultResult> {
  const { door, seeded } = world
  const sender = startSender([door], seeded, 50, RETRY_MS)
  await sleep(1_000)
  const head = `POST ${seeded.path} HTTP/1.1\r\nHost: a\r\n`
  const cuts: number[] = []
  for (let round = 1; round <= run.rounds; round += 1) {
    const slow = Array.from({ length: 2 * run.each }, (_, i) =>
      drip(
        door.publicPort,
        i % 2 === 0 ? `${head}X-Slow: ` : `${head}Content-Length: 100000\r\n\r\n`,
        i >= run.each,
      ),
    )
    cuts.push(...(await Promise.all(slow)))
    print(`round ${round} of ${run.rounds}: the last was cut after ${Math.round(Math.max(...cuts))} ms`)
  }
  const { ledger } = await sender.stop()
  const judged = await judge(world, ledger)
  const times = [...ledger.sent.values()]
    .map((tries) => (tries.at(-1)?.answeredAt ?? 0) - (tries[0]?.sentAt ?? 0))
    .sort((a, b) => a - b)
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0
  const problems = [...judged.problems]
  const late = cuts.filter((ms) => ms > CUT_MS + GRACE_MS)
  if (late.length > 0) problems.push(`${late.length} were cut later than after ${CUT_MS} ms`)
  if (p99 > run.genuineP99Ms) problems.push(`genuine ones took ${p99} ms at p99`)
  return {
    problems,
    figures: {
      ...judged.figures,
      ...{ slow: cuts.length, latestCutMs: Math.round(Math.max(...cuts)), genuineP99Ms: p99 },
    },
  }
}

/** @returns after how many milliseconds the other side closed */
function drip(port: number, start: string, isDeaf: boolean): Promise<number> {
  const began = performance.now()
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: isDeaf }, () => socket.write(start))
    const timer = setInterval(
      () => socket.writable && socket.write('x'),
      isDeaf ? DEAF_BYTE_EACH_MS : BYTE_EACH_MS,
    )
    const late = setTimeout(() => socket.destroy(), GIVEN_UP_MS)
    socket.on('error', () => undefined)
    socket.resume()
    socket.on('close', () => {
      clearInterval(timer)
      clearTimeout(late)
      resolve(performance.now() - began)
    })
  })
}
