/** The run and the judgement of the fault of `bad-receivers.ts`: one real process that stores and sends, ledgers outside. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type AuthUnderFault, startAuthUnderFault } from './auth-process.ts'
import {
  type Asked,
  type BadReceivers,
  KINDS,
  type Kind,
  openBadReceivers,
  RETRY_AFTER_SECONDS,
} from './bad-receivers.ts'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { seedSubscription } from './seed.ts'

export interface Misbehaving {
  readonly databaseUrl: string
  readonly directory: string
  readonly calmSeconds: number
  readonly badSeconds: number
  readonly eventsPerSecond: number
}

export const misbehaveAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    misbehavingReceivers(
      { databaseUrl, directory, calmSeconds: 20, badSeconds: 100, eventsPerSecond: 10 },
      print,
    ),
  )

const TIMEOUT_MS = 2_000
/** Twenty attempts take so long at eight events a second and more; a shorter fault shows only that it opens. */
const OPEN_BY_MS = 15_000
const RECOVERED_WITHIN_MS = 120_000
/** Twenty tries within some minutes: the plan must outlast the fault. */
const PLAN = [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30]

export async function misbehavingReceivers(fault: Misbehaving, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const receivers = await openBadReceivers()
  const auth = await startAuthUnderFault({ ...fault, receiverPort: receivers.port })
  try {
    const ids = await addDestinations(auth, receivers)
    const seeded = await seedSubscription(fault.databaseUrl, auth.secrets.encryptionKey)
    let sent = 0
    let acknowledged = 0
    const phase = async (name: string, seconds: number) => {
      print(`${name}: ${seconds} s`)
      const from = Date.now()
      for (let n = 0; n < seconds * fault.eventsPerSecond; n += 1) {
        await sleep(Math.max(0, from + (n * 1_000) / fault.eventsPerSecond - Date.now()))
        sent += 1
        const answer = await fetch(`${auth.webhooks}${seeded.path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: new Uint8Array(seeded.notification(sent)),
        })
        if (answer.status === 202) acknowledged += 1
      }
      return { from, to: Date.now() }
    }
    const calm = await phase('all are well', fault.calmSeconds)
    receivers.misbehave()
    const bad = await phase('all but one misbehave', fault.badSeconds)
    const gone = await auth.call('GET', `/internal/destinations/${ids.get('gone')}`)
    const down = await auth.call('GET', `/internal/destinations/${ids.get('down')}/health`)
    const askedWhileBad = receivers.asked.filter(({ at }) => at >= bad.from)
    receivers.recover()
    await auth.call('POST', `/internal/destinations/${ids.get('gone')}/resume`)
    const end = Date.now() + RECOVERED_WITHIN_MS
    while (Date.now() < end && KINDS.some((kind) => takenBy(receivers, kind).size < acknowledged))
      await sleep(200)
    const recoveredMs = Date.now() - bad.to
    print(`all have everything ${recoveredMs} ms after the end of the fault`)

    expect(acknowledged === sent, 'every notification was acknowledged')
    for (const kind of KINDS)
      expect(takenBy(receivers, kind).size === acknowledged, `${kind}: has taken every event`)
    expect(
      receivers.asked.every(({ verified }) => verified),
      'every request was signed by its destination’s secret',
    )
    expect(down.breaker === 'open', 'down: its breaker is open')
    const perHalfMinute = mostWithin(
      of(askedWhileBad, 'down').filter(({ at }) => at >= bad.from + OPEN_BY_MS),
      29_000,
    )
    expect(
      perHalfMinute <= 1,
      `down: once its breaker was open, asked at most once in 30 s (${perHalfMinute})`,
    )
    expect(
      gapsOf(of(askedWhileBad, 'throttled')).every((ms) => ms >= RETRY_AFTER_SECONDS * 1_000 - 50),
      'throttled: nothing came again before Retry-After had passed',
    )
    expect(gone.state === 'disabled' && gone.disabled_reason === 'gone', 'gone: it is disabled, and says why')
    const afterGone = of(askedWhileBad, 'gone').length
    expect(afterGone <= 10, `gone: nothing was sent once it had said so (${afterGone} were under way)`)
    expect(
      [undefined, 404].every((status) => of(askedWhileBad, 'n8n').some((one) => one.status === status)),
      'n8n: it was asked while it was down, and while it knew no workflow',
    )
    const latency = (span: { from: number; to: number }) =>
      percentile(
        of(receivers.asked, 'well')
          .filter(({ at }) => at >= span.from && at < span.to)
          .map((one) => one.latencyMs),
        0.95,
      )
    return {
      problems,
      figures: {
        events: sent,
        asked: Object.fromEntries(KINDS.map((kind) => [kind, of(receivers.asked, kind).length])),
        askedWhileBad: Object.fromEntries(KINDS.map((kind) => [kind, of(askedWhileBad, kind).length])),
        p95OfTheWellMs: { before: latency(calm), meanwhile: latency(bad) },
        recoveredMs,
      },
    }
  } finally {
    await auth.stop()
    await receivers.close()
  }
}

async function addDestinations(auth: AuthUnderFault, receivers: BadReceivers): Promise<Map<Kind, string>> {
  const ids = new Map<Kind, string>()
  for (const [n, kind] of KINDS.entries()) {
    const id = await auth.addDestination(n, {
      kind: kind === 'n8n' ? 'n8n' : 'http',
      timeout_ms: TIMEOUT_MS,
      retry_schedule: PLAN,
    })
    const rotated = await auth.call('POST', `/internal/destinations/${id}/rotate-secret`, {
      overlap_seconds: 0,
    })
    receivers.knows(kind, String(rotated.secret))
    ids.set(kind, id)
  }
  return ids
}

const of = (asked: readonly Asked[], kind: Kind): Asked[] => asked.filter((one) => one.kind === kind)

/** Events that this receiver has said 2xx to. */
const takenBy = (receivers: BadReceivers, kind: Kind): Set<string> =>
  new Set(
    of(receivers.asked, kind)
      .filter(({ status }) => status === 204 || status === 200)
      .map(({ webhookId }) => webhookId),
  )

function mostWithin(asked: readonly Asked[], ms: number): number {
  return Math.max(0, ...asked.map(({ at }) => asked.filter((one) => one.at >= at && one.at < at + ms).length))
}

/** Between one request of an event and its next. */
function gapsOf(asked: readonly Asked[]): number[] {
  const last = new Map<string, number>()
  return asked.flatMap(({ webhookId, at }) => {
    const before = last.get(webhookId)
    last.set(webhookId, at)
    return before === undefined ? [] : [at - before]
  })
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN
}
