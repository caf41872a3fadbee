/**
 * F23, F24, RE-13: a backlog at 200 destinations, one real process that stores and one that sends. What must hold while
 * it drains: notifications are acknowledged about as fast as without it, every destination is served, and a transaction
 * that somebody forgot is ended within a minute instead of making the claim slower and slower.
 */
import { getPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startAuthUnderFault } from './auth-process.ts'
import { openBacklogReceiver } from './backlog-receiver.ts'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { reuseLog } from './reused-log.ts'
import { type Seeded, seedSubscription } from './seed.ts'

export interface Backlog {
  readonly databaseUrl: string
  readonly directory: string
  readonly destinations: number
  readonly waiting: number
  readonly seconds: number
  readonly eventsPerSecond: number
  /** False: too short to judge times, and too short for a forgotten transaction. */
  readonly judged: boolean
}

export const backlogAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    drainBacklog(
      {
        databaseUrl,
        directory,
        destinations: 200,
        waiting: 1_000_000,
        seconds: 60,
        eventsPerSecond: 100,
        judged: true,
      },
      print,
    ),
  )

const DRAIN_PER_SECOND = 500
const WARM_SECONDS = 5
const FORGOTTEN_MS = 70_000

export async function drainBacklog(fault: Backlog, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const receiver = await openBacklogReceiver(fault.destinations)
  const door = await startAuthUnderFault({
    ...fault,
    receiverPort: receiver.port,
    role: 'door',
    name: 'door',
  })
  const client = new pg.Client({ connectionString: fault.databaseUrl })
  await client.connect()
  let worker: Awaited<ReturnType<typeof startAuthUnderFault>> | undefined
  try {
    const seeded = await seedSubscription(fault.databaseUrl, door.secrets.encryptionKey)
    await ingest(door.webhooks, seeded, 3, fault.eventsPerSecond)
    const empty = await ingest(door.webhooks, seeded, fault.seconds / 2, fault.eventsPerSecond)
    for (let n = 0; n < fault.destinations; n += 1)
      await door.call('POST', '/internal/destinations', {
        name: `tenant ${n}`,
        url: `http://127.0.0.1:${receiver.port}/hook/${n}`,
      })
    print(`${fault.waiting} deliveries are put at ${fault.destinations} destinations`)
    await preload(client, fault.waiting)
    await reuseLog(client)
    worker = await startAuthUnderFault({
      ...fault,
      receiverPort: receiver.port,
      role: 'work',
      name: 'work',
      secrets: door.secrets,
    })
    expect(
      getPriority(worker.child.pid ?? 0) > getPriority(door.child.pid ?? 0),
      'the working process leaves the processor to the door',
    )
    /** @returns what was drained and acknowledged in so many seconds */
    const watch = async (seconds: number) => {
      const before = receiver.counts()
      const times = await ingest(door.webhooks, seeded, seconds, fault.eventsPerSecond)
      const after = receiver.counts()
      const each = after.map((count, n) => count - (before[n] ?? 0))
      return { perSecond: Math.round(each.reduce((a, b) => a + b, 0) / seconds), each, times }
    }
    // the first second of a process, which reads and compiles its program, is no draining
    if (fault.judged) await watch(WARM_SECONDS)
    const draining = await watch(fault.seconds)
    const figures = {
      waiting: fault.waiting,
      destinations: fault.destinations,
      drainedPerSecond: draining.perSecond,
      leastAndMostOfOne: [Math.min(...draining.each), Math.max(...draining.each)],
      acknowledgedMs: { empty: quantiles(empty.ms), draining: quantiles(draining.times.ms) },
    }
    expect(empty.refused + draining.times.refused === 0, 'every notification was acknowledged')
    expect(Math.min(...draining.each) > 0, 'every destination was served')
    expect(
      Math.max(...draining.each) <= 2 * Math.min(...draining.each) + 20,
      `no destination got more than about twice of another (${figures.leastAndMostOfOne.join(' and ')})`,
    )
    if (!fault.judged) return { problems, figures }
    expect(
      draining.perSecond >= DRAIN_PER_SECOND,
      `it drained at ${draining.perSecond}/s, at least ${DRAIN_PER_SECOND}/s`,
    )
    const { p99: calm } = figures.acknowledgedMs.empty
    const { p99: busy } = figures.acknowledgedMs.draining
    expect(
      busy <= 2 * calm,
      `notifications were acknowledged within twice the time (p99 ${busy} ms, empty ${calm} ms)`,
    )
    const forgotten = await forget(fault.databaseUrl)
    const meanwhile = await watch(fault.seconds)
    await Promise.race([forgotten.ended, sleep(FORGOTTEN_MS)])
    expect(
      forgotten.endedAfterMs() <= FORGOTTEN_MS,
      `the forgotten transaction was ended after ${forgotten.endedAfterMs()} ms`,
    )
    const after = await watch(fault.seconds)
    expect(
      after.perSecond >= draining.perSecond * 0.8,
      `afterwards it drained as before (${after.perSecond}/s, before ${draining.perSecond}/s, meanwhile ${meanwhile.perSecond}/s)`,
    )
    return {
      problems,
      figures: {
        ...figures,
        forgottenTransaction: {
          endedAfterMs: forgotten.endedAfterMs(),
          drainedPerSecondMeanwhile: meanwhile.perSecond,
          afterwards: after.perSecond,
        },
      },
    }
  } finally {
    await worker?.stop()
    await door.stop()
    await client.end()
    await receiver.close()
  }
}

/** Evenly over the destinations, a thousand events, oldest first. */
async function preload(client: pg.Client, waiting: number): Promise<void> {
  await client.query(
    `with event as (
       insert into auth.events (id, recorded_at, type, source, data)
       select 'evt_' || n, date_trunc('milliseconds', auth.clock()), 'ca.flovify.files.drive.v1.notified', 'https://hooks.test/x', '{"specversion":"1.0"}'
         from generate_series(1, 1000) n
       returning id, recorded_at),
     numbered as (select id, recorded_at, row_number() over () n from event),
     place as (select id, row_number() over () - 1 as n, count(*) over () as many from auth.destinations)
     insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
     select 'dlv_' || gen_random_uuid(), e.id, e.recorded_at, p.id, 'rul_backlog', auth.clock() - make_interval(secs => ($1 - s) * 0.001), auth.clock()
       from generate_series(1, $1::int) s
       join place p on p.n = s % p.many
       join numbered e on e.n = 1 + s % 1000`,
    [waiting],
  )
  await client.query('vacuum analyze auth.deliveries')
}

/** Open loop. @returns how long each answer took */
async function ingest(webhooks: string, seeded: Seeded, seconds: number, perSecond: number) {
  const ms: number[] = []
  let refused = 0
  const send = async () => {
    const began = performance.now()
    const answer = await fetch(`${webhooks}${seeded.path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array(seeded.notification(crypto.randomUUID())),
    })
    await answer.arrayBuffer()
    ms.push(performance.now() - began)
    if (answer.status !== 202) refused += 1
  }
  const under: Promise<void>[] = []
  const began = performance.now()
  for (let n = 0; n < seconds * perSecond; n += 1) {
    await sleep(Math.max(0, began + (n * 1_000) / perSecond - performance.now()))
    under.push(send())
  }
  await Promise.all(under)
  return { ms, refused }
}

/** A session that reads once and then does nothing, in a transaction. */
async function forget(databaseUrl: string) {
  const session = new pg.Client({ connectionString: databaseUrl })
  const began = performance.now()
  let endedAfterMs = Number.POSITIVE_INFINITY
  const ended = new Promise<void>((resolve) => {
    session.on('error', () => {
      endedAfterMs = Math.round(performance.now() - began)
      resolve()
    })
  })
  await session.connect()
  await session.query('begin isolation level repeatable read')
  await session.query('select count(*) from auth.destinations')
  return { ended, endedAfterMs: () => endedAfterMs }
}

function quantiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10
  return { p50: at(0.5), p99: at(0.99) }
}
