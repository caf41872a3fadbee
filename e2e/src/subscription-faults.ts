/**
 * What goes wrong with subscriptions in simulated weeks (subscription-weeks.ts), some kinds a step, dealt by a seed from a
 * deck that holds each kind once: so that each comes up in a short run as well as in a long one. A fault is what a provider,
 * a network or an operator does; nothing is written past the service's own doors.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Person } from './reconnecting.ts'
import { ACCOUNTS, type RefreshWorld } from './refresh-world.ts'
import type { ProviderName } from './seed-grants.ts'
import { clockOf } from './subscription-world.ts'

export const KINDS = [
  /** Gone at the provider, without a word. */
  'vanished',
  /** Lives on and is renewed, but what changes is not pushed any more. */
  'fell_silent',
  /** Graph told that it removed it; or would have told. */
  'removed_told',
  'removed_and_message_lost',
  /** Graph told that it lost pushes; that it wants a renewal; or would have told. */
  'missed_told',
  'reauthorization_asked',
  'reauthorization_message_lost',
  /** Ended between the moment that a renewal was sent and its answer: 404. */
  'gone_at_renewal',
  'renewals_refused',
  'calls_refused',
  'calls_throttled',
  /** Made, renewed or ended there, and nobody heard of it here. */
  'answers_lost',
  'killed',
  'access_withdrawn',
] as const
export type Kind = (typeof KINDS)[number]
export type FaultCounts = Record<Kind, number>

export const noFaultsYet = (): FaultCounts =>
  Object.fromEntries(KINDS.map((kind) => [kind, 0])) as FaultCounts

/** One that does not push any more, until another one lives in its place. */
export interface Lost {
  readonly subscription: string
  readonly kind: Kind
  readonly isWatchedClosely: boolean
  /** Simulated. */
  readonly dealtAtMs: number
  /** Simulated; undefined until something changed. */
  changedAtMs: number | undefined
  /** Steps in which calls were refused: what is tried again after minutes is looked at here after a step. */
  excusedMs: number
}

export interface Table {
  readonly world: RefreshWorld
  readonly people: readonly Person[]
  readonly random: () => number
  /** By the provider's id of the subscription. */
  readonly lost: Map<string, Lost>
  readonly counts: FaultCounts
  readonly faultsAStep: number
}

const MANY = 5

interface Deal extends Table {
  readonly dealtAtMs: number
}

/** @returns deals one step's faults; true when calls may fail in it */
export function faultDealer(table: Table): () => Promise<boolean> {
  const deck: Kind[] = []
  return async () => {
    let isRefusing = false
    for (let n = 0; n < table.faultsAStep; n += 1) {
      if (deck.length === 0) deck.push(...shuffled(KINDS, table.random))
      const kind = deck.pop()
      if (kind === undefined) continue
      table.counts[kind] += 1
      if (await happen({ ...table, dealtAtMs: await clockOf(table.world) }, kind)) isRefusing = true
    }
    return isRefusing
  }
}

async function happen(table: Deal, kind: Kind): Promise<boolean> {
  const { world, random, people } = table
  const faults = (provider: ProviderName, switches: object) =>
    world.control('/faults', { provider, ...switches })
  const either: ProviderName = random() < 0.5 ? 'microsoft' : 'google'
  const answer = (status: number, headers = {}) => ({ status, headers, body: '{}', times: MANY })
  switch (kind) {
    case 'vanished':
      for (const row of await pick(table, 2)) {
        await world.control('/lose', at(row))
        lose(table, row, kind)
      }
      return false
    case 'fell_silent':
      for (const row of await pick(table, 2)) {
        await world.control('/mute', at(row))
        lose(table, row, kind)
      }
      return false
    case 'removed_told':
    case 'removed_and_message_lost':
      for (const row of await pick(table, 1, 'microsoft')) {
        lose(table, row, kind)
        await lifecycle(world, row, 'subscriptionRemoved', kind !== 'removed_told')
      }
      return false
    case 'missed_told':
      for (const row of await pick(table, 1, 'microsoft')) await lifecycle(world, row, 'missed', false)
      return false
    case 'reauthorization_asked':
    case 'reauthorization_message_lost':
      for (const row of await pick(table, 2, 'microsoft'))
        await lifecycle(world, row, 'reauthorizationRequired', kind !== 'reauthorization_asked')
      return false
    case 'gone_at_renewal':
      for (const row of await pick(table, 1, 'microsoft')) {
        await faults('microsoft', { holdLease: { what: 'renew', at: 'before' } })
        await lifecycle(world, row, 'reauthorizationRequired', false)
        await renewing(world)
        await world.control('/lose', at(row))
        lose(table, row, kind)
        await faults('microsoft', { holdLease: null })
      }
      return false
    case 'renewals_refused':
      await faults('microsoft', { renewalError: { ...answer(403), times: 2 } })
      for (const row of await pick(table, 2, 'microsoft'))
        await lifecycle(world, row, 'reauthorizationRequired', false)
      return false
    case 'calls_refused':
    case 'calls_throttled': {
      const refusal = kind === 'calls_refused' ? answer(503) : answer(429, { 'retry-after': '30' })
      await faults(either, { subscriptionError: refusal })
      await again(table, kind)
      return true
    }
    case 'answers_lost':
      for (const provider of ['microsoft', 'google'] as const) await faults(provider, { leaseLost: MANY })
      await again(table, kind)
      return true
    case 'killed':
      await world.kill(0)
      await world.start(0)
      return false
    case 'access_withdrawn':
      await people[Math.floor(random() * people.length)]?.withdraw()
      return false
    default:
      throw new Error(`unknown kind ${kind satisfies never}`)
  }
}

/** So that there are calls to refuse: one of each provider has to be made again. */
async function again(table: Deal, kind: Kind): Promise<void> {
  for (const provider of ['microsoft', 'google'] as const)
    for (const row of await pick(table, 1, provider)) {
      await table.world.control('/lose', at(row))
      lose(table, row, kind)
    }
}

/** Until a renewal waits at Graph for what happens to it. */
async function renewing(world: RefreshWorld): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
    const { microsoft } = (await world.control('/state')) as { microsoft: { holding: number } }
    if (microsoft.holding > 0) return
  }
  throw new Error('no renewal was sent')
}

interface Row {
  readonly id: string
  readonly provider: ProviderName
  readonly theirs: string
  readonly closely: boolean
}

const at = ({ provider, theirs }: Row) => ({
  provider,
  account: ACCOUNTS[provider],
  id: theirs.split('/')[0],
})

const lifecycle = (world: RefreshWorld, row: Row, event: string, lost: boolean) =>
  world.control('/lifecycle', { ...at(row), event, lost })

function lose({ lost, dealtAtMs }: Deal, row: Row, kind: Kind): void {
  lost.set(row.theirs, {
    subscription: row.id,
    kind,
    isWatchedClosely: row.closely,
    dealtAtMs,
    changedAtMs: undefined,
    excusedMs: 0,
  })
}

/**
 * By chance, every second time among those that are watched closely. Nobody's own account, none that is lost already, none
 * that was renewed within ten minutes (it would wait for that) or replaced within the day (for silence that is once a day).
 */
async function pick({ world, people, random, lost }: Table, count: number, provider?: ProviderName) {
  const { rows } = await world.db.query<Row>(
    `select s.id, s.provider, s.provider_subscription_id as theirs, k.every_seconds is not null as closely
       from auth.subscriptions s join auth.subscription_checks k on k.id = s.id
      where s.state = 'active' and s.connection_id <> all($2) and s.id <> all($3) and s.provider = coalesce($4, s.provider)
        and s.last_renewed_at < auth.clock() - interval '10 minutes'
        and coalesce(k.replaced_at, '-infinity') < auth.clock() - interval '1 day'
      order by (k.every_seconds is null) = $6::boolean desc, md5(s.id || $1) limit $5`,
    [
      String(random()),
      people.map(({ connectionId }) => connectionId),
      [...lost.values()].map(({ subscription }) => subscription),
      provider ?? null,
      count,
      random() < 0.5,
    ],
  )
  if (rows.length < count) throw new Error(`only ${rows.length} subscriptions that a fault could befall`)
  return rows
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
