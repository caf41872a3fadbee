/**
 * F18, RE-15: each notification five times, in any order, many at once. What must hold: every copy
 * is acknowledged, and each notification is one event that is delivered once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { type Answer, isAcknowledgement } from './ledgers.ts'
import { judge, type Receiving, withReceiving } from './receiving.ts'
import { seeded as random } from './seeded.ts'

export interface ShuffledCopies {
  readonly seed: number
  readonly rounds: number
  /** Notifications of a round; a copy of one never leaves its round. */
  readonly each: number
}

const COPIES = 5
const SENDERS = 24
const RETRY_MS = 50
const TRIES = 200

/** The long form. */
export const shuffledCopiesAtSize = (print: Print): Promise<FaultResult> =>
  withReceiving({}, (world) =>
    sendShuffledCopies(world, { seed: Date.now() % 1_000_000, rounds: 60, each: 500 }, print),
  )

export async function sendShuffledCopies(
  world: Receiving,
  run: ShuffledCopies,
  print: Print,
): Promise<FaultResult> {
  print(`seed ${run.seed}`)
  const chance = random(run.seed)
  const sent = new Map<number, Answer[]>()
  const acknowledged = new Set<number>()
  let copies = 0
  for (let round = 0; round < run.rounds; round += 1) {
    const waiting = Array.from({ length: COPIES * run.each }, (_, i) => round * run.each + (i % run.each) + 1)
    for (let last = waiting.length - 1; last > 0; last -= 1) {
      const other = Math.floor(chance() * (last + 1))
      ;[waiting[last], waiting[other]] = [waiting[other] ?? 0, waiting[last] ?? 0]
    }
    const sender = async () => {
      for (let n = waiting.pop(); n !== undefined; n = waiting.pop()) {
        const answers = sent.get(n) ?? []
        sent.set(n, answers)
        if (await sendOne(world, n, answers)) {
          copies += 1
          acknowledged.add(n)
        }
      }
    }
    await Promise.all(Array.from({ length: SENDERS }, sender))
    if (round % 10 === 9) print(`${round + 1} rounds of ${run.rounds}`)
  }
  const { problems, figures } = await judge(world, { sent, acknowledged })
  const all = COPIES * run.rounds * run.each
  return {
    problems: [
      ...problems,
      ...(copies === all ? [] : [`${all - copies} copies were never acknowledged`]),
      ...(figures.duplicates === 0 ? [] : [`${figures.duplicates} were delivered more than once`]),
    ],
    figures: { ...figures, copies, seed: run.seed },
  }
}

async function sendOne({ door, seeded }: Receiving, n: number, answers: Answer[]): Promise<boolean> {
  const body = new Uint8Array(seeded.notification(n))
  for (let tries = 0; tries < TRIES; tries += 1) {
    const sentAt = Date.now()
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${door.webhooks}${seeded.path}`, { method: 'POST', headers, body })
    await answer.arrayBuffer()
    const retryAfter = answer.headers.get('retry-after') ?? undefined
    answers.push({ status: answer.status, retryAfter, sentAt, answeredAt: Date.now() })
    if (isAcknowledgement(answer.status)) return true
    await sleep(RETRY_MS)
  }
  return false
}
