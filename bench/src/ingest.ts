/**
 * `npm run bench -- ingest`: durable ingest against the bare ceiling and against what one would write first, in one run,
 * rounds interleaved. Ours is the real service as its own process: judged, deduplicated, event and one delivery row stored
 * and committed before the answer. It runs as `door`, so that sending does not share its core.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@flovify/local/postgres'
import { costOf, costOfFamily } from '../../e2e/src/process-cost.ts'
import { openSubjects, type Subject } from './ingest-subjects.ts'
import { type LoadResult, runLoad } from './load.ts'

const ROUNDS = 4
const SECONDS = 5
const WARM_SECONDS = 2
/** As many as ours needs to use the machine; the bare server answers no fewer with them than with half of them. */
const CONNECTIONS = 128
/**
 * A stall of a disk that others use, or the flush that ends a checkpoint, holds every commit up for a quarter of a second:
 * more than a hundredth of a window. So the middle one of the windows says how fast we are, and all of them together how
 * often that happens.
 */
const HALF_LOAD_WINDOWS = 7
const HALF_LOAD_SECONDS = 10

/** One subject in one round. CPU in microseconds a request; the generator’s is that of this process. */
export interface Measured extends LoadResult {
  readonly cpuUs: { readonly node: number; readonly postgres: number; readonly generator: number }
  readonly memoryMb: number
}

export interface IngestResult {
  readonly machine: string
  readonly date: string
  readonly connections: number
  readonly rounds: readonly Readonly<Record<string, Measured>>[]
  /** Each subject's mean rate ÷ that of the bare server. */
  readonly ratios: Readonly<Record<string, number>>
  /** Ours with a million deliveries waiting ÷ ours. */
  readonly backlogRatio: number
  /** At half of our mean rate, evenly, for a while each; the middle one of their 50th and 99th percentiles. */
  readonly halfLoad: {
    readonly windows: readonly LoadResult[]
    readonly p50Ms: number
    readonly p99Ms: number
  }
  /** Equal, when nothing was refused: each was acknowledged. */
  readonly events: { readonly issued: number; readonly stored: number }
  readonly refused: number
}

export async function benchIngest(say: (line: string) => void): Promise<IngestResult> {
  const folder = await mkdtemp(join(tmpdir(), 'flovify-bench-'))
  const postgres = await startPostgres({ dataDir: join(folder, 'postgres') })
  let stopSubjects = async () => {}
  try {
    const { all, issued, stored, stop } = await openSubjects(postgres.url(), folder, say)
    stopSubjects = stop
    let refused = 0
    const drive = async (subject: Subject, seconds: number, perSecond?: number): Promise<LoadResult> => {
      const result = await runLoad({
        port: subject.port,
        path: subject.path,
        connections: CONNECTIONS,
        seconds,
        ...(perSecond === undefined ? {} : { perSecond }),
        headers: { 'x-signature': '00'.repeat(32) },
        body: subject.body,
      })
      refused += result.requests - (result.statuses['202'] ?? 0)
      return result
    }
    const measure = async (subject: Subject): Promise<Measured> => {
      const cost = async () => ({
        node: await costOf(subject.pid),
        postgres: await costOfFamily(postgres.pid),
        generator: process.cpuUsage(),
      })
      const before = await cost()
      const result = await drive(subject, SECONDS)
      const after = await cost()
      const each = (ms: number) => Number(((ms * 1_000) / result.requests).toFixed(1))
      return {
        ...result,
        cpuUs: {
          node: each((after.node?.cpuMs ?? 0) - (before.node?.cpuMs ?? 0)),
          postgres: each((after.postgres?.cpuMs ?? 0) - (before.postgres?.cpuMs ?? 0)),
          generator: each(
            (after.generator.user +
              after.generator.system -
              before.generator.user -
              before.generator.system) /
              1_000,
          ),
        },
        memoryMb: after.node?.residentMb ?? 0,
      }
    }

    say('warming up')
    for (const subject of all) await drive(subject, WARM_SECONDS)
    const rounds: Record<string, Measured>[] = []
    for (let round = 1; round <= ROUNDS; round += 1) {
      const results: Record<string, Measured> = {}
      // there and back again: what one leaves to be written meets another one each time
      for (const subject of round % 2 === 1 ? all : all.toReversed()) {
        const result = await measure(subject)
        results[subject.name] = result
        say(line(`round ${round}  ${subject.title}`, result))
      }
      rounds.push(results)
    }
    const mean = (name: string) =>
      rounds.reduce((sum, round) => sum + (round[name]?.perSecond ?? 0), 0) / rounds.length
    const ratio = (name: string, to: string) => Number((mean(name) / mean(to)).toFixed(3))
    const ratios = Object.fromEntries(all.map(({ name }) => [name, ratio(name, 'bare')]))
    for (const { name, title } of all) say(`${title} ÷ bare: ${ratios[name]?.toFixed(2)}`)
    const backlogRatio = ratio('backlog', 'ours')
    say(`ours with a million waiting ÷ ours: ${backlogRatio.toFixed(2)}`)
    const ours = all.find(({ name }) => name === 'ours')
    if (ours === undefined) throw new Error('ours is not among the subjects')
    const windows: LoadResult[] = []
    for (let n = 0; n < HALF_LOAD_WINDOWS; n += 1)
      windows.push(await drive(ours, HALF_LOAD_SECONDS, mean('ours') / 2))
    const halfLoad = {
      windows,
      p50Ms: middle(windows.map(({ p50Ms }) => p50Ms)),
      p99Ms: middle(windows.map(({ p99Ms }) => p99Ms)),
    }
    say(
      `ours at half of its rate: ${windows[0]?.perSecond}/s  p50 ${halfLoad.p50Ms} ms  p99 ${halfLoad.p99Ms} ms (of each ${HALF_LOAD_SECONDS} s: ${windows.map(({ p99Ms }) => p99Ms).join(', ')})`,
    )
    const events = { issued: issued(), stored: await stored() }
    say(`events sent ${events.issued}, stored ${events.stored}; requests refused ${refused}`)
    return {
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, load generator (bench/src/load.ts) on the same machine`,
      date: new Date().toISOString(),
      connections: CONNECTIONS,
      rounds,
      ratios,
      backlogRatio,
      halfLoad,
      events,
      refused,
    }
  } finally {
    await stopSubjects()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

const middle = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const line = (name: string, r: Measured) =>
  `${name.padEnd(52)} ${String(r.perSecond).padStart(6)}/s  p50 ${r.p50Ms} ms  p99 ${r.p99Ms} ms  CPU µs: Node ${r.cpuUs.node}, PostgreSQL ${r.cpuUs.postgres}, generator ${r.cpuUs.generator}  ${r.memoryMb} MB  ${JSON.stringify(r.statuses)}`
