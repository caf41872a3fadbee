/**
 * RE-10: many connections whose tokens expire in the same minute, several processes, and a provider that counts. What
 * must hold: the provider's limit in every window of a second, no connection asked for twice, no failed read meanwhile,
 * also of readers who ask for more than is left and so force refreshes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { embedDatabase } from '../../local/src/database.ts'
import type { FaultResult, Print } from './faults.ts'
import { openRefreshWorld, type RefreshWorld } from './refresh-world.ts'

export interface RefreshStorm {
  /** Migrated, or empty. */
  readonly databaseUrl: string
  /** For log files. */
  readonly directory: string
  readonly processes: number
  readonly connections: number
  /** The provider's limit. */
  readonly perSecond: number
  /** How long all tokens still live when all of them become due. */
  readonly validSeconds: number
  readonly readsPerSecond: number
}

/** Runs on an embedded PostgreSQL of its own. */
export async function onOwnDatabase<T>(work: (url: string, directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-refresh-'))
  try {
    const database = await embedDatabase(directory, directory)
    try {
      return await work(database.url, directory)
    } finally {
      await database.stop()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The long form. */
export const stormAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    refreshStorm(
      {
        databaseUrl,
        directory,
        processes: 3,
        connections: 10_000,
        perSecond: 50,
        validSeconds: 720,
        readsPerSecond: 40,
      },
      print,
    ),
  )

export async function refreshStorm(storm: RefreshStorm, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const world = await openRefreshWorld(storm.databaseUrl, storm.directory, storm.processes)
  try {
    await world.start(0)
    await world.db.query('update auth.refresh_pace set per_second = $1', [storm.perSecond])
    const ids = await world.seed({
      provider: 'google',
      count: storm.connections,
      validSeconds: storm.validSeconds,
      due: true,
    })
    await Promise.all(Array.from({ length: storm.processes - 1 }, (_, i) => world.start(i + 1)))
    print(`${ids.length} connections are due at once, ${storm.processes} processes, ${storm.perSecond}/s`)
    const begun = Date.now()
    const reads = startReads(world, ids, storm.readsPerSecond)
    for (const end = begun + storm.validSeconds * 1_000; Date.now() < end; await sleep(250))
      if ((await countAt(world, 2)) === storm.connections) break
    const seconds = (Date.now() - begun) / 1_000
    const refreshed = await countAt(world, 2)
    // whoever would refresh a second time has a moment to do so
    await sleep(2_000)
    const sums = await reads.stop()
    const asked = await world.asked('google')
    const distinct = new Set(asked.requests.map(({ credential }) => credential)).size
    const perSecond = asked.requests.length / seconds
    expect(
      refreshed === storm.connections,
      `${refreshed} of ${storm.connections} were refreshed before they expired`,
    )
    expect(
      asked.requests.length === storm.connections && distinct === storm.connections,
      `${asked.requests.length} requests for ${distinct} connections: none twice`,
    )
    expect(
      asked.peakPerSecond <= storm.perSecond,
      `at most ${asked.peakPerSecond} requests within any second, of ${storm.perSecond} allowed`,
    )
    expect(sums.failed === 0, `${sums.failed} of ${sums.reads} reads failed ${sums.failures.join('; ')}`)
    expect(sums.forced > 0, `${sums.forced} reads asked for more than was left`)
    return {
      problems,
      figures: {
        processes: storm.processes,
        connections: storm.connections,
        limitPerSecond: storm.perSecond,
        peakPerSecond: asked.peakPerSecond,
        meanPerSecond: Number(perSecond.toFixed(1)),
        requests: asked.requests.length,
        seconds: Number(seconds.toFixed(1)),
        reads: sums.reads,
        forcedReads: sums.forced,
        failedReads: sums.failed,
        slowestReadMs: sums.slowestMs,
      },
    }
  } finally {
    await world.close()
  }
}

export const countAt = async (world: RefreshWorld, version: number): Promise<number> =>
  Number(
    (await world.db.query('select count(*) n from auth.oauth_tokens where version >= $1', [version])).rows[0]
      ?.n,
  )

/** Every tenth read asks for more than an old token has left. */
function startReads(world: RefreshWorld, ids: readonly string[], perSecond: number) {
  const failures: string[] = []
  const flying = new Set<Promise<void>>()
  let [reads, failed, forced, slowestMs] = [0, 0, 0, 0]
  const read = async (n: number) => {
    const minValidSeconds = n % 10 === 0 ? 3_000 : 60
    if (minValidSeconds > 60) forced += 1
    const id = ids[Math.floor(Math.random() * ids.length)] ?? ''
    const at = performance.now()
    try {
      const answer = await world.read(n % world.origins.length, id, minValidSeconds)
      const body = (await answer.json()) as { access_token?: string; error?: string }
      if (answer.status !== 200 || !body.access_token)
        throw new Error(`${answer.status} ${body.error ?? 'no token'}`)
    } catch (error) {
      failed += 1
      if (failures.length < 10) failures.push(error instanceof Error ? error.message : 'unknown')
    }
    slowestMs = Math.max(slowestMs, Math.round(performance.now() - at))
  }
  const timer = setInterval(() => {
    const done = read(reads++).finally(() => flying.delete(done))
    flying.add(done)
  }, 1_000 / perSecond)
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all(flying)
      return { reads, failed, forced, failures, slowestMs }
    },
  }
}
