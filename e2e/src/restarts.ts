/**
 * RE-06, F21: rolling restarts under load; with SIGKILL instead of SIGTERM F1, F2. Two processes serve and work behind a sender that does what a proxy or a
 * provider does: a connection that is refused or broken, or a 503, is tried again at the other one. One process after
 * the other is told to end (SIGTERM) and started anew. What must hold: no other answer than an acknowledgement or 503,
 * nothing acknowledged is lost, no process takes longer than ten seconds to end, and kept connections are told to close.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../local/src/free-port.ts'
import { startReceiver } from '../../local/src/receiver.ts'
import { type AuthUnderFault, startAuthUnderFault } from './auth-process.ts'
import type { FaultResult, Print } from './faults.ts'
import {
  type Answer,
  balance,
  isAcknowledgement,
  readStored,
  type SenderLedger,
  waitForDeliveries,
} from './ledgers.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { type Seeded, seedSubscription } from './seed.ts'

export interface Restarts {
  readonly databaseUrl: string
  readonly directory: string
  readonly restarts: number
  readonly perSecond: number
  /** SIGTERM: told to end; SIGKILL: F1 and F2, it ends in the middle of everything. */
  readonly signal: 'SIGTERM' | 'SIGKILL'
}

export const restartsAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    rollingRestarts({ databaseUrl, directory, restarts: 20, perSecond: 150, signal: 'SIGTERM' }, print),
  )

export const killsAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    rollingRestarts({ databaseUrl, directory, restarts: 20, perSecond: 150, signal: 'SIGKILL' }, print),
  )

const DRAIN_MS = 10_000
const DELIVERED_WITHIN_MS = 90_000

export async function rollingRestarts(fault: Restarts, print: Print): Promise<FaultResult> {
  const port = await freePort()
  const options = { ...fault, receiverPort: port, receiverPath: '/hooks' }
  const first = await startAuthUnderFault({ ...options, name: 'auth-1' })
  const second = await startAuthUnderFault({ ...options, name: 'auth-2', secrets: first.secrets })
  const secret = await addReceiver(first, port)
  const receiver = await startReceiver({ secret, port, keep: 1_000_000 })
  try {
    const seeded = await seedSubscription(fault.databaseUrl, first.secrets.encryptionKey)
    const sender = startSender([first, second], seeded, fault.perSecond)
    await sleep(1_000)
    const drains: number[] = []
    for (let n = 0; n < fault.restarts; n += 1) {
      const one = n % 2 === 0 ? first : second
      drains.push(await restart(one, fault.signal))
      print(`restart ${n + 1} of ${fault.restarts}: ended after ${drains.at(-1)} ms`)
    }
    await sleep(1_000)
    const { ledger, toldToClose } = await sender.stop()
    await waitForDeliveries(ledger, () => receiver.received(), DELIVERED_WITHIN_MS)
    const sums = balance(
      ledger,
      seeded.notification,
      await readStored(fault.databaseUrl, seeded.connectionId),
      receiver.received(),
    )
    const problems = [...sums.problems]
    const other = Object.keys(sums.refused).filter((status) => !['0', '503'].includes(status))
    if (other.length > 0) problems.push(`answers other than 2xx and 503: ${other.join(', ')}`)
    if (sums.acknowledged !== sums.sent)
      problems.push(`${sums.sent - sums.acknowledged} were never acknowledged`)
    const slow = drains.filter((ms) => ms > DRAIN_MS)
    if (slow.length > 0) problems.push(`ended after more than ten seconds: ${slow.join(', ')} ms`)
    if (fault.signal === 'SIGTERM' && toldToClose === 0) problems.push('no kept connection was told to close')
    const { problems: _, ...figures } = sums
    return {
      problems,
      figures: {
        ...figures,
        restarts: drains.length,
        longestDrainMs: Math.max(...drains),
        triedAgain: [...ledger.sent.values()].filter((answers) => answers.length > 1).length,
        answersThatSaidClose: toldToClose,
      },
    }
  } finally {
    await Promise.all([first.stop(), second.stop()])
    await receiver.close()
  }
}

export async function addReceiver(auth: AuthUnderFault, port: number): Promise<string> {
  const made = await auth.call('POST', '/internal/destinations', {
    name: 'receiver',
    url: `http://127.0.0.1:${port}/hooks`,
    concurrency: 50,
  })
  await auth.call('POST', '/internal/rules', {
    name: 'mail',
    destination_id: String(made.id),
    types: ['mail.*'],
  })
  return String(made.secret)
}

/** @returns milliseconds from the signal to the end of the process */
async function restart({ child }: AuthUnderFault, signal: Restarts['signal']): Promise<number> {
  const told = performance.now()
  await child.kill(signal)
  while (child.pid !== undefined && performance.now() - told < 3 * DRAIN_MS) await sleep(10)
  const ms = Math.round(performance.now() - told)
  await child.restart()
  return ms
}

const PATIENCE_MS = 60_000

/** Genuine notifications, open loop: each has its own time, whatever became of those before, and is sent again until acknowledged. */
export function startSender(
  processes: readonly AuthUnderFault[],
  seeded: Pick<Seeded, 'path' | 'notification'>,
  perSecond: number,
  retryMs = 50,
) {
  const sent = new Map<number, Answer[]>()
  const acknowledged = new Set<number>()
  // enough for all that wait for an answer: who waits for a socket would be counted as a slow answer
  const agents = processes.map(() => new Agent({ keepAlive: true, maxSockets: 4_000 }))
  const under = new Set<Promise<void>>()
  let stopped = false
  let toldToClose = 0

  const post = (at: number, body: Buffer): Promise<Pick<Answer, 'status' | 'retryAfter'>> =>
    new Promise((resolve) => {
      const asking = request(
        {
          host: '127.0.0.1',
          port: processes[at]?.publicPort,
          path: seeded.path,
          method: 'POST',
          agent: agents[at],
          timeout: 10_000,
          headers: { 'content-type': 'application/json', 'content-length': body.length },
        },
        (answer) => {
          if (answer.headers.connection === 'close') toldToClose += 1
          answer.resume()
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, retryAfter: answer.headers['retry-after'] }),
          )
          answer.on('error', () => resolve({ status: 0, retryAfter: undefined }))
        },
      )
      asking.on('timeout', () => asking.destroy())
      asking.on('error', () => resolve({ status: 0, retryAfter: undefined }))
      asking.end(body)
    })

  const send = async (n: number): Promise<void> => {
    const answers: Answer[] = []
    sent.set(n, answers)
    const body = seeded.notification(n)
    for (let turn = n, end = Date.now() + PATIENCE_MS; Date.now() < end; turn += 1) {
      const sentAt = Date.now()
      const answer = await post(turn % processes.length, body)
      answers.push({ ...answer, sentAt, answeredAt: Date.now() })
      if (isAcknowledgement(answer.status)) {
        acknowledged.add(n)
        return
      }
      await sleep(retryMs)
    }
  }

  const loop = (async () => {
    const began = performance.now()
    for (let n = 1; !stopped; n += 1) {
      const wait = began + (n * 1_000) / perSecond - performance.now()
      if (wait > 0) await sleep(wait)
      const one = send(n).finally(() => under.delete(one))
      under.add(one)
    }
  })()

  return {
    /** As it grows. */
    ledger: { sent, acknowledged } satisfies SenderLedger,
    async stop() {
      stopped = true
      await loop
      await Promise.all(under)
      for (const agent of agents) agent.destroy()
      return { ledger: { sent, acknowledged }, toldToClose }
    },
  }
}
