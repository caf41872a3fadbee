/**
 * F23, F24, RE-13: a backlog at 200 destinations, one real process that stores and one that sends. What must hold while
 * it drains: notifications are acknowledged about as fast as without it, every destination is served, and a transaction
 * that somebody forgot is ended within a minute instead of making the claim slower and slower.
 */
import { getPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type Acknowledged, acknowledge, timesOf } from './acknowledging.ts'
import { startAuthUnderFault } from './auth-process.ts'
import { openBacklogReceiver } from './backlog-receiver.ts'
import type { FaultResult, Print } from './faults.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { reuseLog } from './reused-log.ts'
import { seedSubscription } from './seed.ts'

export interface Backlog {
  readonly databaseUrl: string
  readonly directory: string
  readonly destinations: number
  readonly waiting: number
  /** Of each of the windows in which times are measured. */
  readonly windowSeconds: number
  readonly windows: number
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
        windowSeconds: 10,
        windows: 7,
        eventsPerSecond: 100,
        judged: true,
      },
      print,
    ),
  )

const DRAIN_PER_SECOND = 500
const WARM_SECONDS = 5
const FORGOTTEN_MS = 70_000
const FORGOTTEN_WATCH_SECONDS = 60
/** Each notification for so many destinations. */
const STREAM_TO = 12
const STREAM_SECONDS = 20

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
    const send = (seconds: number) => acknowledge(door.webhooks, seeded, seconds, fault.eventsPerSecond)
    await send(3)
    const empty: Acknowledged[] = []
    for (let n = 0; n < fault.windows / 2; n += 1) empty.push(await send(fault.windowSeconds))
    const places: unknown[] = []
    for (let n = 0; n < fault.destinations; n += 1) {
      const url = `http://127.0.0.1:${receiver.port}/hook/${n}`
      places.push((await door.call('POST', '/internal/destinations', { name: `tenant ${n}`, url })).id)
    }
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
      const times = await send(seconds)
      const each = receiver.counts().map((count, n) => count - (before[n] ?? 0))
      return { each, times }
    }
    // the first second of a process, which reads and compiles its program, is no draining
    if (fault.judged) await watch(WARM_SECONDS)
    const paused: Acknowledged[] = []
    const draining: Awaited<ReturnType<typeof watch>>[] = []
    for (let n = 0; n < fault.windows; n += 1) {
      await pauseAll(client, true)
      paused.push(await send(fault.windowSeconds))
      await pauseAll(client, false)
      draining.push(await watch(fault.windowSeconds))
    }
    const each = receiver
      .counts()
      .map((_, n) => draining.reduce((sum, window) => sum + (window.each[n] ?? 0), 0))
    const perSecond = rateOf(each, fault.windows * fault.windowSeconds)
    const figures = {
      waiting: fault.waiting,
      destinations: fault.destinations,
      drainedPerSecond: perSecond,
      leastAndMostOfOne: [Math.min(...each), Math.max(...each)],
      acknowledgedMs: {
        empty: timesOf(empty),
        paused: timesOf(paused),
        draining: timesOf(draining.map(({ times }) => times)),
      },
    }
    const refused = [...empty, ...paused, ...draining.map(({ times }) => times)]
    expect(
      refused.every((window) => window.refused === 0),
      'every notification was acknowledged',
    )
    expect(Math.min(...each) > 0, 'every destination was served')
    expect(
      Math.max(...each) <= 2 * Math.min(...each) + 20,
      `no destination got more than about twice of another (${figures.leastAndMostOfOne.join(' and ')})`,
    )
    if (!fault.judged) return { problems, figures }
    expect(perSecond >= DRAIN_PER_SECOND, `it drained at ${perSecond}/s, at least ${DRAIN_PER_SECOND}/s`)
    const calm = Math.min(figures.acknowledgedMs.empty.p99, figures.acknowledgedMs.paused.p99)
    const busy = figures.acknowledgedMs.draining.p99
    expect(
      busy <= 2 * calm,
      `notifications were acknowledged within twice the time (p99 ${busy} ms, without draining ${calm} ms)`,
    )
    const forgotten = await forget(fault.databaseUrl)
    const meanwhile = rateOf((await watch(FORGOTTEN_WATCH_SECONDS)).each, FORGOTTEN_WATCH_SECONDS)
    await Promise.race([forgotten.ended, sleep(FORGOTTEN_MS)])
    expect(
      forgotten.endedAfterMs() <= FORGOTTEN_MS,
      `the forgotten transaction was ended after ${forgotten.endedAfterMs()} ms`,
    )
    const after = rateOf((await watch(FORGOTTEN_WATCH_SECONDS)).each, FORGOTTEN_WATCH_SECONDS)
    expect(
      after >= perSecond * 0.8,
      `afterwards it drained as before (${after}/s, before ${perSecond}/s, meanwhile ${meanwhile}/s)`,
    )
    for (const place of places.slice(0, STREAM_TO))
      await door.call('POST', '/internal/rules', {
        name: 'all mail',
        destination_id: place,
        types: ['mail.*'],
      })
    await send(WARM_SECONDS) // the door has read its rules by then
    const before = await waitingNow(client)
    const stream = rateOf((await watch(STREAM_SECONDS)).each, STREAM_SECONDS)
    const left = await waitingNow(client)
    expect(
      left < before,
      `a stream of ${STREAM_TO * fault.eventsPerSecond} deliveries/s is worked off and more (${stream}/s; ${before} waited, then ${left})`,
    )
    return {
      problems,
      figures: {
        ...figures,
        besideAStream: { madePerSecond: STREAM_TO * fault.eventsPerSecond, drainedPerSecond: stream },
        forgottenTransaction: {
          endedAfterMs: forgotten.endedAfterMs(),
          drainedPerSecondMeanwhile: meanwhile,
          afterwards: after,
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

const rateOf = (each: readonly number[], seconds: number) =>
  Math.round(each.reduce((sum, count) => sum + count, 0) / seconds)

/** As an operator would, at all of them at once: what is claimed goes out, the rest waits. */
async function pauseAll(client: pg.Client, paused: boolean): Promise<void> {
  await client.query('update auth.destinations set paused = $1', [paused])
}

async function waitingNow(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ n: number }>('select count(*)::int as n from auth.deliveries')
  return rows[0]?.n ?? 0
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
