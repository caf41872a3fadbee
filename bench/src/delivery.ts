/**
 * `npm run bench -- delivery`, three questions in one run. How many signed deliveries a second a real worker process
 * makes, against a bare loop over `undici` to the same receiver, rounds interleaved. How long from receipt to arrival at
 * 500 events a second through one real process. How fast due rows are claimed with a million waiting at one clogged
 * destination among 200, against none.
 */
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type AuthUnderFault, startAuthUnderFault } from '../../e2e/src/auth-process.ts'
import { onOwnDatabase } from '../../e2e/src/refresh-storm.ts'
import { seedSubscription } from '../../e2e/src/seed.ts'
import { measureClaims } from './delivery-claims.ts'
import { lineOf, startTool } from './tool.ts'

const ROUNDS = 3
const SECONDS = 5
/** As many as one process works on at once. */
const CONCURRENCY = 200
const BODY_BYTES = 700
const EVENTS_PER_SECOND = 500
const LATENCY_SECONDS = 20

type Say = (line: string) => void

export const benchDelivery = (say: Say): Promise<object> =>
  onOwnDatabase(async (databaseUrl, directory) => {
    const receiver = await startTool('bench/src/counting-receiver.ts')
    const { port } = JSON.parse(receiver.firstLine) as { port: number }
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    try {
      const options = { databaseUrl, directory, receiverPort: port }
      const all = await startAuthUnderFault(options)
      const latency = await measureLatency(say, all, databaseUrl, port).finally(() => all.stop())
      const worker = await startAuthUnderFault({
        ...options,
        role: 'work',
        secrets: all.secrets,
        name: 'work',
      })
      const throughput = await measureThroughput(say, client, port).finally(() => worker.stop())
      const claims = await measureClaims(say, databaseUrl)
      return {
        machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, receiver and PostgreSQL on the same machine`,
        date: new Date().toISOString(),
        throughput,
        latency,
        claims,
      }
    } finally {
      await client.end()
      await receiver.stop()
    }
  })

async function measureThroughput(say: Say, client: pg.Client, port: number) {
  await client.query('update auth.destinations set concurrency = $1', [CONCURRENCY])
  const { rows } = await client.query<{ id: string }>('select id from auth.destinations limit 1')
  const destination = rows[0]?.id
  /** More than can be sent in the time; what is left is taken away, so that the bare loop has the machine for itself. */
  const ours = async (seconds: number): Promise<number> => {
    await client.query(
      `with event as (
         insert into auth.events (id, recorded_at, type, source, data)
         select 'evt_' || gen_random_uuid(), date_trunc('milliseconds', auth.clock()), 'ca.flovify.mail.mailbox.v1.notified', 'https://bench.test/x',
                convert_to(rpad('{"specversion":"1.0"', $2, 'x'), 'UTF8')
           from generate_series(1, 1000)
         returning id, recorded_at)
       insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
       select 'dlv_' || gen_random_uuid(), event.id, event.recorded_at, $1, 'rul_bench', auth.clock(), auth.clock()
         from event, generate_series(1, $3::int)`,
      [destination, BODY_BYTES, seconds * 10],
    )
    await client.query('analyze auth.deliveries')
    await sleep(1_000)
    const [before, from] = [await countAt(port), performance.now()]
    await sleep(seconds * 1_000)
    const [after, to] = [await countAt(port), performance.now()]
    await client.query('delete from auth.deliveries where lease_until is null')
    while ((await client.query('select 1 from auth.deliveries limit 1')).rows.length > 0) {
      await client.query('delete from auth.deliveries where lease_until is null')
      await sleep(100)
    }
    return Math.round(((after - before) / (to - from)) * 1_000)
  }
  const bare = async (seconds: number): Promise<number> =>
    (
      JSON.parse(
        await lineOf('bench/src/bare-sender.ts', [port, CONCURRENCY, seconds, BODY_BYTES].map(String)),
      ) as { perSecond: number }
    ).perSecond
  say('throughput: warming up')
  await ours(3)
  await bare(2)
  const rounds: { bare: number; ours: number }[] = []
  for (let round = 1; round <= ROUNDS; round += 1) {
    const figures = { bare: await bare(SECONDS), ours: await ours(SECONDS) }
    rounds.push(figures)
    say(
      `round ${round}  bare undici loop ${figures.bare}/s   ours, claimed, signed, settled ${figures.ours}/s`,
    )
  }
  const sum = (pick: (one: { bare: number; ours: number }) => number) =>
    rounds.reduce((total, one) => total + pick(one), 0)
  const ratio = sum((one) => one.ours) / sum((one) => one.bare)
  say(`deliveries ÷ bare loop: ${ratio.toFixed(2)}`)
  return { rounds, ratio }
}

/** Open loop: an event is sent when its time has come, whatever became of those before. */
async function measureLatency(say: Say, auth: AuthUnderFault, databaseUrl: string, port: number) {
  await auth.addDestination(0, { concurrency: CONCURRENCY })
  const seeded = await seedSubscription(databaseUrl, auth.secrets.encryptionKey)
  let n = 0
  const send = async (): Promise<void> => {
    n += 1
    const answer = await fetch(`${auth.webhooks}${seeded.path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array(seeded.notification(n)),
    })
    if (!answer.ok) throw new Error(`a notification was answered ${answer.status}`)
    await answer.arrayBuffer()
  }
  const run = async (seconds: number): Promise<void> => {
    const began = performance.now()
    const under: Promise<void>[] = []
    for (let i = 0; i < seconds * EVENTS_PER_SECOND; i += 1) {
      const wait = began + (i * 1_000) / EVENTS_PER_SECOND - performance.now()
      if (wait > 0) await sleep(wait)
      under.push(send())
    }
    await Promise.all(under)
    await sleep(1_000)
  }
  await fetch(`http://127.0.0.1:${port}/timed`)
  await run(5)
  await latenciesAt(port)
  await run(LATENCY_SECONDS)
  await fetch(`http://127.0.0.1:${port}/untimed`)
  const sorted = (await latenciesAt(port)).sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  const figures = {
    eventsPerSecond: EVENTS_PER_SECOND,
    arrived: sorted.length,
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
  }
  say(
    `receipt to arrival at ${EVENTS_PER_SECOND}/s: p50 ${figures.p50Ms} ms, p95 ${figures.p95Ms} ms, p99 ${figures.p99Ms} ms (${sorted.length} events)`,
  )
  return figures
}

const countAt = async (port: number) =>
  ((await (await fetch(`http://127.0.0.1:${port}/count`)).json()) as { count: number }).count
const latenciesAt = async (port: number) =>
  (await (await fetch(`http://127.0.0.1:${port}/latencies`)).json()) as number[]
