/**
 * A flood of requests that prove nothing, from an address of its own, while a provider sends genuine notifications. What
 * must hold: each genuine one is acknowledged, at first or on retry, and stored once; the flood is refused, nearly all of
 * it unread; the 99th percentile of genuine acknowledgements stays below a second, and memory stays flat.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import pg from 'pg'
import { PER_SECOND } from '../../auth/src/http/address-gate.ts'
import { freePort } from '../../local/src/free-port.ts'
import { startAuthUnderFault } from './auth-process.ts'
import type { FaultResult, Print } from './faults.ts'
import type { FloodCount, FloodOptions } from './flood-sender.ts'
import { readStored } from './ledgers.ts'
import { costOf } from './process-cost.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { startSender } from './restarts.ts'
import { seedSubscription } from './seed.ts'

export interface Flood {
  readonly databaseUrl: string
  readonly directory: string
  readonly seconds: number
  readonly connections: number
}

/** Of genuine notifications. */
const PER_SECOND_GENUINE = 50
const TIMES_THE_LIMIT = 10
const FLOOD_ADDRESS = '127.0.0.2'
/** As many as `auth/src/db/pools.ts` opens for the door. */
const INGEST_CONNECTIONS = 6
/** Buffers that come and go, beside what the process holds. */
const GROWTH_MIB = 64

/** The long form. */
export const floodAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase(async (databaseUrl, directory) => {
    const result = await floodTheDoor({ databaseUrl, directory, seconds: 60, connections: 64 }, print)
    const p99 = Number(result.figures.genuine_p99_ms)
    return p99 <= 1_000
      ? result
      : { ...result, problems: [...result.problems, `genuine ones took ${p99} ms at p99, of 1000 allowed`] }
  })

export async function floodTheDoor(flood: Flood, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const sender = { receiverPort: await freePort(), environment: { TRUSTED_PROXIES: 'none' } }
  const auth = await startAuthUnderFault({ ...flood, ...sender })
  try {
    const seeded = await seedSubscription(flood.databaseUrl, auth.secrets.encryptionKey)
    const genuine = startSender([auth], seeded, PER_SECOND_GENUINE)
    await sleep(2_000)
    const memory: number[] = []
    const busy: number[] = []
    let flooding = true
    const watch = onConnection(flood.databaseUrl, async (client) => {
      while (flooding) {
        memory.push(await residentMib(auth.child.pid))
        busy.push(await busyConnections(client))
        await sleep(250)
      }
    })
    print(`${flood.connections} connections flood for ${flood.seconds} s`)
    const { answers, seconds } = await runFlood({
      port: auth.publicPort,
      localAddress: FLOOD_ADDRESS,
      seconds: flood.seconds,
      connections: flood.connections,
    })
    flooding = false
    await watch
    const { ledger } = await genuine.stop()
    const asked = Object.values(answers).reduce((sum, n) => sum + n, 0)
    const perSecond = Math.round(asked / seconds)
    const stored = await readStored(flood.databaseUrl, seeded.connectionId)
    const times = [...ledger.sent.values()].map(
      (tries) => (tries.at(-1)?.answeredAt ?? 0) - (tries[0]?.sentAt ?? 0),
    )
    const p99 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0
    const half = Math.ceil(memory.length / 2)
    const [before, after] = [Math.max(...memory.slice(0, half)), Math.max(...memory.slice(half))]
    const again = [...ledger.sent.values()].filter((tries) => tries.length > 1).length

    expect(
      perSecond >= TIMES_THE_LIMIT * PER_SECOND,
      `${perSecond} forged ones a second: ten times ${PER_SECOND} or more`,
    )
    expect(
      Object.keys(answers).every((status) => ['0', '401', '404', '413', '503'].includes(status)),
      `none of them was accepted: ${JSON.stringify(answers)}`,
    )
    expect((answers['503'] ?? 0) >= 0.8 * asked, 'four fifths or more were refused unread')
    expect(
      ledger.acknowledged.size === ledger.sent.size,
      `${ledger.acknowledged.size} of ${ledger.sent.size} genuine ones acknowledged, ${again} of them on retry`,
    )
    expect(stored.length === ledger.acknowledged.size, `${stored.length} events stored, each once`)
    expect(
      after - before <= GROWTH_MIB,
      `memory of the service: ${before} MiB at most in the first half, ${after} in the second`,
    )
    const exhausted = busy.filter((connections) => connections >= INGEST_CONNECTIONS).length
    expect(
      busy.length > 0 && exhausted <= busy.length * 0.1,
      `all ${INGEST_CONNECTIONS} connections of the door were busy in ${exhausted} of ${busy.length} looks`,
    )
    return {
      problems,
      figures: {
        forged: asked,
        forged_per_second: perSecond,
        answers,
        genuine: ledger.sent.size,
        on_retry: again,
        genuine_p99_ms: p99,
        memory_mib: { first_half: before, second_half: after },
        looks_with_all_connections_busy: `${exhausted} of ${busy.length}`,
      },
    }
  } finally {
    await auth.stop()
  }
}

async function onConnection(databaseUrl: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

/** Of those that store notifications: forgeries must not reach them. */
async function busyConnections(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ busy: number }>(
    `select count(*)::int as busy from pg_stat_activity
      where application_name = 'flovify-ingest' and state <> 'idle' and datname = current_database()`,
  )
  return rows[0]?.busy ?? 0
}

function runFlood(options: FloodOptions): Promise<FloodCount> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./flood-sender.ts', import.meta.url), { workerData: options })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

async function residentMib(pid: number | undefined): Promise<number> {
  const cost = pid === undefined ? undefined : await costOf(pid)
  if (cost === undefined) throw new Error('the memory of the service cannot be measured')
  return cost.residentMb
}
