/**
 * F22, WI-13: the signing keys of a provider cannot be had for six simulated hours, are rotated meanwhile, and invented
 * key names come in floods. What must hold: a known key verifies for a day; what cannot be judged is 503 and never 401;
 * the rotation is seen within a minute of the end; an unknown name costs at most one question in 30 seconds.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startAuthUnderFault } from './auth-process.ts'
import type { FaultResult, Print } from './faults.ts'
import { GOOGLE_PUSH, startPushSender } from './push-sender.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { seedSubscription } from './seed.ts'

export interface KeysAway {
  readonly databaseUrl: string
  readonly directory: string
  readonly stepMinutes: number
  /** Invented key names at each step. */
  readonly invented: number
}

const HOURS = 6
const HOUR_MS = 3_600_000
const MAILBOX = 'keys@example.com'
/** A second for the process to read the clock, and a little. */
const FOLLOWED_MS = 1_200
/** One question, and one more where 30 s of real time pass within a step. */
const QUESTIONS = 2

/** The long form. */
export const keysAwayAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    takeKeysAway({ databaseUrl, directory, stepMinutes: 5, invented: 100 }, print),
  )

export async function takeKeysAway(run: KeysAway, print: Print): Promise<FaultResult> {
  const google = await startPushSender(run.databaseUrl)
  const auth = await startAuthUnderFault({ ...run, receiverPort: 9, environment: google.environment })
  const client = new pg.Client({ connectionString: run.databaseUrl })
  await client.connect()
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  let pushed = 0
  let stored = 0
  const push = async (bearer: string): Promise<number> => {
    pushed += 1
    const answer = await fetch(`${auth.webhooks}${GOOGLE_PUSH.path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: bearer },
      body: google.body(MAILBOX, pushed),
    })
    await answer.arrayBuffer()
    if (answer.status === 204) stored += 1
    return answer.status
  }
  const flood = async (): Promise<{ statuses: string; questions: number }> => {
    const before = google.asked()
    const all = Array.from({ length: run.invented }, () => push(google.freshBearer(crypto.randomUUID())))
    const statuses = new Set(await Promise.all(all))
    return { statuses: [...statuses].join(', '), questions: google.asked() - before }
  }
  let aheadMs = 0
  const pass = async (ms: number) => {
    aheadMs += ms
    await client.query('update auth.clock_offset set offset_ms = $1', [aheadMs])
    google.follow(aheadMs)
    await sleep(FOLLOWED_MS)
  }
  try {
    const { ownerId } = await seedSubscription(run.databaseUrl, auth.secrets.encryptionKey)
    await google.seed(MAILBOX, ownerId)
    expect((await push(google.freshBearer())) === 204, 'a push of a key that can be had is stored')

    google.keysAreAway(true)
    const known: number[] = []
    const unknown = new Set<string>()
    let most = 0
    for (let minutes = 0; minutes < HOURS * 60; minutes += run.stepMinutes) {
      await pass(run.stepMinutes * 60_000)
      known.push(await push(google.freshBearer()))
      const { statuses, questions } = await flood()
      unknown.add(statuses)
      most = Math.max(most, questions)
    }
    expect(
      known.every((status) => status === 204),
      `away for ${HOURS} h: the known key verified at each of ${known.length} steps`,
    )
    expect([...unknown].join() === '503', `invented keys meanwhile: ${[...unknown].join('; ')}`)
    expect(most <= QUESTIONS, `at most ${most} questions for ${run.invented} of them`)

    const earlier = google.freshBearer()
    google.rotate()
    expect((await push(google.freshBearer())) === 503, 'a rotated key that cannot be seen yet is 503')
    google.keysAreAway(false)
    await pass(31_000)
    expect((await push(google.freshBearer())) === 204, 'within a minute of the end the rotated key verifies')
    await pass(31_000)
    const back = await flood()
    expect(back.statuses === '401', `invented keys while they can be had: ${back.statuses}`)
    expect(back.questions <= QUESTIONS, `${back.questions} questions for ${run.invented} of them`)
    expect((await push(earlier)) === 401, 'the key of before is refused')

    google.keysAreAway(true)
    await pass(23 * HOUR_MS)
    expect((await push(google.freshBearer())) === 204, 'away for 23 h: the known key verifies')
    await pass(2 * HOUR_MS)
    expect((await push(google.freshBearer())) === 503, 'away for 25 h: 503, not 401')

    const { rows } = await client.query<{ n: string }>(
      `select count(*) n from auth.events where type like '%mail.mailbox.v1.notified'`,
    )
    expect(Number(rows[0]?.n) === stored, `${rows[0]?.n} events for ${stored} pushes that were acknowledged`)
    return { problems, figures: { pushed, stored, mostQuestionsAStep: most, keysAsked: google.asked() } }
  } finally {
    await client.end()
    await auth.stop()
    await google.close()
  }
}
