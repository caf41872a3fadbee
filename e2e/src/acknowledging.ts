/**
 * How long a door takes to acknowledge, measured by a sender outside of it. A disk that others use, too, stalls now and
 * then for a tenth of a second, which is a whole 99th percentile; so a time is measured in several windows, and the
 * middle one of their percentiles counts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Seeded } from './seed.ts'

export interface Acknowledged {
  /** How long each answer took, in milliseconds. */
  readonly ms: readonly number[]
  /** Answers other than 202. */
  readonly refused: number
}

/** Open loop: sent when their time has come, whether the ones before are answered or not. */
export async function acknowledge(
  webhooks: string,
  seeded: Seeded,
  seconds: number,
  perSecond: number,
): Promise<Acknowledged> {
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

export interface Times {
  /** The middle one of the windows' medians and of their 99th percentiles, in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** The 99th percentile of each window. */
  readonly windows: readonly number[]
}

export function timesOf(windows: readonly Acknowledged[]): Times {
  const of = (share: number) => windows.map(({ ms }) => quantile(ms, share))
  const windowsP99 = of(0.99)
  return { p50: quantile(of(0.5), 0.5), p99: quantile(windowsP99, 0.5), windows: windowsP99 }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10
}
