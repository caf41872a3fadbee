/**
 * `npm run bench -- ingest`: durable ingest against the bare ceiling, in one run, rounds interleaved. Ours is the real
 * service as its own process: judged, deduplicated, event and one delivery row stored and committed before the answer.
 * The service runs as `door`, so that sending does not share its core.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startPostgres } from '@flovify/local/postgres'
import pg from 'pg'
import { newEncryptionKey, seedSubscription } from '../../e2e/src/seed.ts'
import { type LoadResult, runLoad } from './load.ts'

const ROUNDS = 3
const SECONDS = 5
const CONNECTIONS = 64
const ROOT = new URL('../../', import.meta.url).pathname

export interface IngestResult {
  readonly machine: string
  readonly date: string
  readonly rounds: readonly { readonly bare: LoadResult; readonly ours: LoadResult }[]
  readonly ratio: number
  readonly storedEvents: number
  readonly acknowledged: number
}

export async function benchIngest(say: (line: string) => void): Promise<IngestResult> {
  const folder = await mkdtemp(join(tmpdir(), 'flovify-bench-'))
  const postgres = await startPostgres({ dataDir: join(folder, 'postgres') })
  const children: ChildProcess[] = []
  try {
    const key = newEncryptionKey()
    const databaseUrl = postgres.url()
    const auth = await startAuth(databaseUrl, key, children)
    const seeded = await seedSubscription(databaseUrl, key)
    await addRule(databaseUrl)
    const bare = await startBare(children)
    let n = 0
    const ours = (seconds: number) =>
      runLoad({
        port: auth,
        path: seeded.path,
        connections: CONNECTIONS,
        seconds,
        body: () => seeded.notification(n++),
      })
    const ceiling = (seconds: number) =>
      runLoad({
        port: bare,
        path: '/',
        connections: CONNECTIONS,
        seconds,
        headers: { 'x-signature': '00'.repeat(32) },
        body: () => seeded.notification(n++),
      })

    say('warming up')
    let acknowledged = accepted(await ours(2))
    await ceiling(2)
    const rounds: { bare: LoadResult; ours: LoadResult }[] = []
    for (let round = 1; round <= ROUNDS; round += 1) {
      const bareResult = await ceiling(SECONDS)
      const oursResult = await ours(SECONDS)
      acknowledged += accepted(oursResult)
      rounds.push({ bare: bareResult, ours: oursResult })
      say(line(`round ${round}  bare node:http, HMAC, no storage`, bareResult))
      say(line(`round ${round}  ours, stored before the answer    `, oursResult))
    }
    const mean = (pick: (round: (typeof rounds)[number]) => number) =>
      rounds.reduce((sum, round) => sum + pick(round), 0) / rounds.length
    const ratio = mean((round) => round.ours.perSecond) / mean((round) => round.bare.perSecond)
    const storedEvents = await countEvents(databaseUrl)
    say(
      `durable ingest ÷ bare ceiling: ${ratio.toFixed(2)}   acknowledged ${acknowledged}, stored ${storedEvents}`,
    )
    return {
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, load generator on the same machine`,
      date: new Date().toISOString(),
      rounds,
      ratio,
      storedEvents,
      acknowledged,
    }
  } finally {
    for (const child of children) child.kill('SIGTERM')
    await Promise.all(
      children.map((child) =>
        child.exitCode === null ? new Promise((resolve) => child.once('exit', resolve)) : undefined,
      ),
    )
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

const accepted = (result: LoadResult) => result.statuses['202'] ?? 0
const line = (name: string, r: LoadResult) =>
  `${name}  ${String(r.perSecond).padStart(6)}/s  p50 ${r.p50Ms} ms  p99 ${r.p99Ms} ms  ${JSON.stringify(r.statuses)}`

async function startAuth(databaseUrl: string, key: string, children: ChildProcess[]): Promise<number> {
  const child = spawn(process.execPath, [join(ROOT, 'auth/src/main.ts')], {
    env: {
      PATH: process.env.PATH ?? '',
      DATABASE_URL: databaseUrl,
      SERVICE_SECRET: 'bench-service-secret-0123456789abcdef',
      ENCRYPTION_KEY: key,
      AUTH_MODE: 'local',
      AUTH_ROLE: 'door',
      AUTH_PORT: '0',
      AUTH_INTERNAL_PORT: '0',
      WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
      CONSOLE_BASE_URL: 'http://localhost:3000',
      MICROSOFT_CLIENT_ID: 'bench',
      MICROSOFT_CLIENT_SECRET: 'bench-client-secret',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const text of createInterface({ input: child.stdout })) {
    const parsed: unknown = JSON.parse(text)
    if (
      typeof parsed === 'object' &&
      parsed !== null &&
      'public_port' in parsed &&
      typeof parsed.public_port === 'number'
    ) {
      child.stdout.resume()
      return parsed.public_port
    }
  }
  throw new Error('auth ended before it was ready')
}

async function startBare(children: ChildProcess[]): Promise<number> {
  const child = spawn(process.execPath, [join(ROOT, 'bench/src/bare-server.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const text of createInterface({ input: child.stdout }))
    return (JSON.parse(text) as { port: number }).port
  throw new Error('the bare server ended before it was ready')
}

/** One rule and one destination: each event gets one delivery row, which no worker takes. */
async function addRule(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query(
      "insert into auth.destinations (id, name, url, data_key, secret, paused) values ('dst_bench', 'bench', 'https://example.com', 'x', 'x', true)",
    )
    await client.query(
      "insert into auth.rules (id, name, destination_id) values ('rul_bench', 'everything', 'dst_bench')",
    )
  })
}

const countEvents = (databaseUrl: string) =>
  withClient(databaseUrl, async (client) =>
    Number(
      (await client.query('select count(*) n from auth.events e join auth.deliveries d on d.event_id = e.id'))
        .rows[0]?.n,
    ),
  )

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
