/**
 * `npm run bench -- tokens`: token reads per second over HTTP against the same single-row `select` behind a bare
 * `node:http` door, in one run, rounds interleaved. Ours is the real service as its own process: the caller proven, the
 * vault opened, each read audited and that committed before the answer.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startPostgres } from '@flovify/local/postgres'
import pg from 'pg'
import { newEncryptionKey } from '../../e2e/src/seed.ts'
import { seedTokens } from '../../e2e/src/seed-tokens.ts'
import { type LoadResult, runLoad } from './load.ts'

/** Short and many: what else runs on the machine falls on both sides of a round, and on few rounds. */
const ROUNDS = 9
const SECONDS = 2
const CONNECTIONS = 64
const TOKENS = 10_000
/** Of the pool that token reads use (auth/src/db/pools.ts). */
const POOL_SIZE = 16
const ROOT = new URL('../../', import.meta.url).pathname
const SERVICE_SECRET = 'bench-service-secret-0123456789abcdef'
const BODY = Buffer.from('{"min_valid_seconds":60}')

interface Round {
  readonly bare: LoadResult
  readonly ours: LoadResult
  readonly ratio: number
}

export interface TokensResult {
  readonly machine: string
  readonly date: string
  /** Load average before the run: a machine that others use as well gives other figures. */
  readonly loadBefore: number
  readonly denominator: string
  readonly rounds: readonly Round[]
  /** The median of the rounds' own ratios. */
  readonly ratio: number
  readonly answered: number
  readonly audited: number
}

export async function benchTokens(say: (line: string) => void): Promise<TokensResult> {
  const loadBefore = Number((loadavg()[0] ?? 0).toFixed(1))
  const folder = await mkdtemp(join(tmpdir(), 'flovify-bench-'))
  const postgres = await startPostgres({ dataDir: join(folder, 'postgres') })
  const children: ChildProcess[] = []
  try {
    const key = newEncryptionKey()
    const databaseUrl = postgres.url()
    const auth = await startProcess(
      children,
      'auth/src/main.ts',
      {
        DATABASE_URL: databaseUrl,
        SERVICE_SECRET,
        ENCRYPTION_KEY: key,
        AUTH_MODE: 'local',
        AUTH_ROLE: 'door',
        AUTH_PORT: '0',
        AUTH_INTERNAL_PORT: '0',
        WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
        CONSOLE_BASE_URL: 'http://localhost:3000',
        GOOGLE_CLIENT_ID: 'bench',
        GOOGLE_CLIENT_SECRET: 'bench-client-secret',
      },
      'internal_port',
    )
    const bare = await startProcess(
      children,
      'bench/src/bare-token-door.ts',
      { DATABASE_URL: databaseUrl, POOL_SIZE: String(POOL_SIZE) },
      'port',
    )
    say(`${TOKENS} connections`)
    const ids = await seedTokens({
      databaseUrl,
      keys: new Map([['k0', Buffer.from(key, 'base64url')]]),
      count: TOKENS,
    })
    const load = (port: number, headers: Record<string, string>, seconds: number) =>
      runLoad({
        port,
        path: (n) => `/internal/connections/${ids[(n * 7_919) % ids.length]}/token`,
        connections: CONNECTIONS,
        seconds,
        headers,
        body: () => BODY,
      })
    const ours = (seconds: number) => load(auth, { 'x-service-token': SERVICE_SECRET }, seconds)
    const bareDoor = (seconds: number) => load(bare, {}, seconds)

    say('warming up')
    let answered = right(await ours(3))
    await bareDoor(3)
    const rounds: Round[] = []
    for (let round = 1; round <= ROUNDS; round += 1) {
      const bareResult = await bareDoor(SECONDS)
      const oursResult = await ours(SECONDS)
      right(bareResult)
      answered += right(oursResult)
      const itsRatio = Number((oursResult.perSecond / bareResult.perSecond).toFixed(3))
      rounds.push({ bare: bareResult, ours: oursResult, ratio: itsRatio })
      say(line(`round ${round}  bare node:http, the same select`, bareResult))
      say(line(`round ${round}  ours, audited before the answer`, oursResult))
    }
    const ratio = rounds.map((round) => round.ratio).toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0
    const audited = await countAudited(databaseUrl)
    say(`token reads ÷ bare door: ${ratio.toFixed(2)}   answered ${answered}, audited ${audited}`)
    if (audited < answered) throw new Error('a token left that was not audited')
    return {
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, load generator and PostgreSQL on the same machine`,
      date: new Date().toISOString(),
      loadBefore,
      denominator:
        'a bare node:http server with the same single-row select as a prepared statement over a pg pool of the same size; no caller proven, nothing opened, nothing audited',
      rounds,
      ratio,
      answered,
      audited,
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

function right(result: LoadResult): number {
  const other = Object.keys(result.statuses).filter((status) => status !== '200')
  if (other.length > 0) throw new Error(`not all were answered: ${JSON.stringify(result.statuses)}`)
  return result.requests
}

const line = (name: string, r: LoadResult) =>
  `${name}  ${String(r.perSecond).padStart(6)}/s  p50 ${r.p50Ms} ms  p99 ${r.p99Ms} ms`

/** @param port name of the field in the line that says that it is ready */
async function startProcess(
  children: ChildProcess[],
  main: string,
  env: Record<string, string>,
  port: string,
): Promise<number> {
  const child = spawn(process.execPath, [join(ROOT, main)], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const text of createInterface({ input: child.stdout })) {
    const parsed: unknown = JSON.parse(text)
    const found = (parsed as Record<string, unknown>)[port]
    if (typeof found === 'number') {
      child.stdout.resume()
      return found
    }
  }
  throw new Error(`${main} ended before it was ready`)
}

async function countAudited(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query("select count(*) n from auth.audit where action = 'token.read'")
    return Number(rows[0]?.n)
  } finally {
    await client.end()
  }
}
