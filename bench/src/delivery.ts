/**
 * `npm run bench -- delivery`, three questions in one run. How many signed deliveries a second a real worker process
 * makes, against a bare loop over `undici` to the same receiver, rounds interleaved. How long from receipt to arrival at
 * 500 events a second through one real process. How fast due rows are claimed with a million waiting at one clogged
 * destination among 200, against none.
 */
import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type AuthUnderFault, startAuthUnderFault } from '../../e2e/src/auth-process.ts'
import { onOwnDatabase } from '../../e2e/src/refresh-storm.ts'
import { reuseLog } from '../../e2e/src/reused-log.ts'
import { seedSubscription } from '../../e2e/src/seed.ts'
import { measureClaims } from './delivery-claims.ts'
import { measureThroughput } from './delivery-throughput.ts'
import { startTool } from './tool.ts'

/** As many as one process works on at once: those that are being claimed and settled too. */
const CONCURRENCY = 600
const EVENTS_PER_SECOND = 500
/** Long enough for what a checkpoint takes to count as often as it comes. */
const LATENCY_SECONDS = 60

type Say = (line: string) => void

export const benchDelivery = (say: Say): Promise<object> =>
  onOwnDatabase(async (databaseUrl, directory) => {
    const load = loadavg()[0] ?? 0
    const receiver = await startTool('bench/src/counting-receiver.ts')
    const { port } = JSON.parse(receiver.firstLine) as { port: number }
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    try {
      const options = { databaseUrl, directory, receiverPort: port }
      const all = await startAuthUnderFault(options)
      await reuseLog(client)
      const latency = await measureLatency(say, all, databaseUrl, port).finally(() => all.stop())
      const worker = await startAuthUnderFault({
        ...options,
        role: 'work',
        secrets: all.secrets,
        name: 'work',
      })
      await client.query('update auth.destinations set concurrency = $1', [CONCURRENCY])
      const throughput = await measureThroughput(say, {
        client,
        receiver: { port, pid: receiver.pid },
        workerPid: worker.child.pid ?? Number.NaN,
      }).finally(() => worker.stop())
      const claims = await measureClaims(say, databaseUrl)
      return {
        machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, receiver and PostgreSQL on the same machine`,
        date: new Date().toISOString(),
        // what others kept running on it meanwhile; the times on the clock mean little beside more than one
        loadAverageBefore: Math.round(load * 10) / 10,
        throughput,
        latency,
        claims,
      }
    } finally {
      await client.end()
      await receiver.stop()
    }
  })

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

const latenciesAt = async (port: number) =>
  (await (await fetch(`http://127.0.0.1:${port}/latencies`)).json()) as number[]
