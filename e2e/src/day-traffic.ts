/**
 * A day of notifications of both providers (Graph, Gmail's pushes, channels of Drive and Calendar), by seed: who sends what and when, with repeats (soon and hours later), other
 * groupings of the same items, and an order that is not that of the changes. Pure; it sends nothing.
 */
import { seeded } from './seeded.ts'

export const DAY_MS = 24 * 3600 * 1000

export interface DayOptions {
  readonly seed: number
  /** Of both providers together. */
  readonly changes: number
  readonly accountsEach: number
}

export type Source = 'graph' | 'gmail' | 'drive' | 'calendar'

export interface Sending {
  /** Milliseconds after the day's begin. */
  readonly at: number
  readonly source: Source
  readonly account: number
  /** Numbers of changes; Google sends one at a time. */
  readonly changes: readonly number[]
}

export interface Day {
  readonly sendings: readonly Sending[]
  /** Which account each change belongs to, by its number. */
  readonly owners: ReadonlyMap<number, { readonly source: Source; readonly account: number }>
}

/** Half of all requests are Graph's. */
const SHARES: readonly Source[] = ['graph', 'graph', 'graph', 'gmail', 'drive', 'calendar']

export function planDay({ seed, changes, accountsEach }: DayOptions): Day {
  const random = seeded(seed)
  const upTo = (limit: number) => Math.floor(random() * limit)
  const owners = new Map<number, { source: Source; account: number }>()
  const sendings: Sending[] = []
  for (let n = 1; n <= changes; ) {
    const source = SHARES[upTo(SHARES.length)] ?? 'graph'
    const account = upTo(accountsEach)
    const size = source !== 'graph' ? 1 : Math.min(1 + upTo(4), changes - n + 1)
    const group = Array.from({ length: size }, (_, i) => n + i)
    for (const one of group) owners.set(one, { source, account })
    n += size
    const happened = upTo(DAY_MS)
    const send = (delay: number, of: readonly number[]) =>
      sendings.push({ at: Math.min(DAY_MS - 1, happened + delay), source, account, changes: of })
    // up to two minutes late: later changes overtake it
    send(upTo(120_000), group)
    if (random() < 0.1) send(upTo(2_000), group)
    if (random() < 0.05) for (let times = 1 + upTo(3); times > 0; times -= 1) send(upTo(4 * 3600_000), group)
    if (size > 1 && random() < 0.1) for (const one of group.toReversed()) send(upTo(600_000), [one])
  }
  return { sendings: sendings.sort((a, b) => a.at - b.at), owners }
}
