/**
 * A constant stream of token reads over HTTP, at a rate and not as fast as it goes: each read asks for a random
 * connection at the next of several processes and holds the answer against the token that belongs to it. Nothing is
 * repeated: a read that fails has failed. A process that is about to be restarted is taken out first, as a load
 * balancer does.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { tokenOf } from './seed-tokens.ts'

export interface LoadOptions {
  /** Internal origins. */
  readonly origins: readonly string[]
  readonly serviceSecret: string
  readonly connectionIds: readonly string[]
  readonly perSecond: number
}

export interface LoadSums {
  readonly reads: number
  readonly failed: number
  /** The first ones, in words. */
  readonly failures: readonly string[]
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export interface TokenLoad {
  /** Sends nothing more to this process and waits for what is under way there. */
  takeOut(origin: string): Promise<void>
  putBack(origin: string): void
  /** What the reads of now belong to, for the report of failures. */
  phase(name: string): void
  stop(): Promise<LoadSums>
}

const TICK_MS = 20
const PATIENCE_MS = 10_000

export function startTokenLoad(options: LoadOptions): TokenLoad {
  const out = new Set<string>()
  const underWay = new Map<string, Set<Promise<void>>>(options.origins.map((origin) => [origin, new Set()]))
  const latencies: number[] = []
  const failures: string[] = []
  let failed = 0
  let turn = 0
  let phase = 'begin'
  let sent = 0
  const started = performance.now()

  async function read(origin: string): Promise<void> {
    const id = options.connectionIds[Math.floor(Math.random() * options.connectionIds.length)] ?? ''
    const at = performance.now()
    const during = phase
    try {
      const answer = await fetch(`${origin}/internal/connections/${id}/token`, {
        method: 'POST',
        headers: { 'x-service-token': options.serviceSecret, 'content-type': 'application/json' },
        body: '{}',
        signal: AbortSignal.timeout(PATIENCE_MS),
      })
      const body = (await answer.json()) as { access_token?: string; error?: string }
      if (answer.status !== 200) throw new Error(`${answer.status} ${body.error ?? ''}`)
      if (body.access_token !== tokenOf(id)) throw new Error('200 with the token of something else')
      latencies.push(performance.now() - at)
    } catch (error) {
      failed += 1
      const why = error instanceof Error ? `${error.message} ${String(error.cause ?? '')}` : 'unknown'
      if (failures.length < 20) failures.push(`${during}, ${id}: ${why.trim()}`)
    }
  }

  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - started) / 1000) * options.perSecond)
    for (; sent < due; sent += 1) {
      const inside = options.origins.filter((origin) => !out.has(origin))
      const origin = inside[turn++ % Math.max(1, inside.length)]
      if (origin === undefined) continue
      const flying = underWay.get(origin)
      const done = read(origin).finally(() => flying?.delete(done))
      flying?.add(done)
    }
  }, TICK_MS)

  const settled = (origin: string) => Promise.all(underWay.get(origin) ?? [])
  return {
    async takeOut(origin) {
      out.add(origin)
      await settled(origin)
    },
    putBack: (origin) => void out.delete(origin),
    phase: (name) => {
      phase = name
    },
    async stop() {
      clearInterval(timer)
      const seconds = (performance.now() - started) / 1000
      await Promise.all(options.origins.map(settled))
      await sleep(0)
      latencies.sort((a, b) => a - b)
      const quantile = (q: number) =>
        Number((latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0).toFixed(1))
      return {
        reads: latencies.length + failed,
        failed,
        failures,
        perSecond: Math.round((latencies.length + failed) / seconds),
        p50Ms: quantile(0.5),
        p99Ms: quantile(0.99),
        maxMs: quantile(1),
      }
    },
  }
}
