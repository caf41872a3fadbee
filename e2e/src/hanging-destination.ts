/**
 * DO-08, F11: one destination of many takes every request and never answers. What must hold: the others get everything,
 * as fast as before. One real process stores, sends and keeps the receiver waiting; times are taken at the receiver, from
 * the moment in the event at which it was recorded.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { startAuthUnderFault } from './auth-process.ts'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { seedSubscription } from './seed.ts'

export interface Hanging {
  readonly databaseUrl: string
  readonly directory: string
  readonly destinations: number
  /** Each event goes to every destination. */
  readonly eventsPerSecond: number
  /** Before the fault, and again after it. */
  readonly calmSeconds: number
  readonly hangingSeconds: number
  /** By how much the others' p95 may be above what it is without the fault; undefined: too short to be judged. */
  readonly tolerance: number | undefined
}

/** The long form: ten minutes of it. */
export const hangAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    hangingDestination(
      {
        databaseUrl,
        directory,
        destinations: 50,
        eventsPerSecond: 2,
        calmSeconds: 90,
        hangingSeconds: 600,
        tolerance: 0.1,
      },
      print,
    ),
  )

interface Arrival {
  readonly destination: number
  readonly event: string
  readonly at: number
  readonly latencyMs: number
}

export async function hangingDestination(fault: Hanging, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const receiver = await openReceiver()
  const auth = await startAuthUnderFault({ ...fault, receiverPort: receiver.port })
  try {
    for (let n = 0; n < fault.destinations; n += 1) await auth.addDestination(n)
    const seeded = await seedSubscription(fault.databaseUrl, auth.secrets.encryptionKey)
    let sent = 0
    let refused = 0
    /** @returns what arrived of the events sent in so many seconds */
    const phase = async (name: string, seconds: number) => {
      print(`${name}: ${seconds} s`)
      const from = Date.now()
      for (let n = 0; n < seconds * fault.eventsPerSecond; n += 1) {
        const due = from + (n * 1_000) / fault.eventsPerSecond
        await sleep(Math.max(0, due - Date.now()))
        sent += 1
        const answer = await fetch(`${auth.webhooks}${seeded.path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: new Uint8Array(seeded.notification(sent)),
        })
        if (!answer.ok) refused += 1
      }
      await sleep(2_000)
      return { from, to: Date.now() }
    }
    const calm = await phase('all answer', fault.calmSeconds)
    receiver.hang(0)
    const hanging = await phase('one hangs', fault.hangingSeconds)
    receiver.answer()
    const after = await phase('all answer again', fault.calmSeconds)

    const others = receiver.arrivals.filter(({ destination }) => destination !== 0)
    const within = (...spans: { from: number; to: number }[]) =>
      others.filter(({ at }) => spans.some(({ from, to }) => at >= from && at < to)).map((a) => a.latencyMs)
    const without = within(calm, after)
    const during = within(hanging)
    const figures = {
      destinations: fault.destinations,
      events: sent,
      refused,
      deliveriesOfOthers: others.length,
      withoutMs: { p50: percentile(without, 0.5), p95: percentile(without, 0.95) },
      duringMs: { p50: percentile(during, 0.5), p95: percentile(during, 0.95) },
      mostWaitingAtOne: receiver.mostWaiting(),
    }
    expect(refused === 0, 'every notification was acknowledged')
    expect(
      new Set(others.map(({ destination, event }) => `${destination} ${event}`)).size ===
        sent * (fault.destinations - 1),
      'every other destination has got every event',
    )
    expect(figures.mostWaitingAtOne <= 10, 'the one that hangs held no more than its own ten')
    const { tolerance } = fault
    if (tolerance !== undefined)
      expect(
        figures.duringMs.p95 <= figures.withoutMs.p95 * (1 + tolerance),
        `the others’ p95 was within ${tolerance * 100} % (${figures.duringMs.p95} ms, without ${figures.withoutMs.p95} ms)`,
      )
    return { problems, figures }
  } finally {
    receiver.answer()
    await auth.stop()
    await receiver.close()
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN
}

async function openReceiver() {
  const arrivals: Arrival[] = []
  const waiting = new Map<() => void, number>()
  let hanging: number | undefined
  let most = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const at = Date.now()
      const destination = Number(request.url?.split('/').at(-1))
      const answer = () => response.writeHead(204).end()
      if (destination === hanging) {
        waiting.set(answer, at)
        most = Math.max(most, waiting.size)
        response.on('close', () => waiting.delete(answer))
        return
      }
      const { id, recordedtime } = JSON.parse(Buffer.concat(chunks).toString()) as {
        id: string
        recordedtime: string
      }
      arrivals.push({ destination, event: id, at, latencyMs: at - Date.parse(recordedtime) })
      answer()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    arrivals: arrivals as readonly Arrival[],
    mostWaiting: () => most,
    hang: (destination: number) => {
      hanging = destination
    },
    answer: () => {
      hanging = undefined
      for (const answer of waiting.keys()) answer()
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
