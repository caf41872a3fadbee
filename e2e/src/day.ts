/**
 * 24 hours of simulated traffic of both providers: a planned day is sent to a real process whose clock is moved along, a
 * part of the day at a time, over midnight; what is not acknowledged is sent again. In the end each change is one event,
 * of its own account, whatever was repeated, regrouped or overtaken.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type AuthUnderFault, startAuthUnderFault } from './auth-process.ts'
import { DAY_MS, planDay, type Sending, type Source } from './day-traffic.ts'
import type { FaultResult, Print } from './faults.ts'
import { isAcknowledgement, numberIn } from './ledgers.ts'
import { GOOGLE_PUSH, type PushSender, startPushSender } from './push-sender.ts'
import { onOwnDatabase } from './refresh-storm.ts'
import { type Seeded, seedSubscription } from './seed.ts'
import { messageNumberIn, type SeededChannel, seedChannel } from './seed-channel.ts'

export interface DayRun {
  readonly databaseUrl: string
  readonly directory: string
  readonly seed: number
  readonly changes: number
  readonly accountsEach: number
  /** Moves of the clock over the day. */
  readonly parts: number
}

interface Person {
  readonly graph: Seeded
  readonly mailbox: string
  readonly googleConnection: string
  readonly channels: Record<'drive' | 'calendar', SeededChannel>
}

const JSON_TYPE = { 'content-type': 'application/json' }
const SENDERS = 24
const TRIES = 100

export const dayAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    simulateDay(
      { databaseUrl, directory, seed: Date.now() % 1_000_000, changes: 60_000, accountsEach: 8, parts: 96 },
      print,
    ),
  )

export async function simulateDay(run: DayRun, print: Print): Promise<FaultResult> {
  const began = performance.now()
  print(`seed ${run.seed}`)
  const day = planDay(run)
  const google = await startPushSender(run.databaseUrl)
  const auth = await startAuthUnderFault({ ...run, receiverPort: 9, environment: google.environment })
  const client = new pg.Client({ connectionString: run.databaseUrl })
  await client.connect()
  try {
    const people: Person[] = []
    for (let n = 0; n < run.accountsEach; n += 1) {
      const graph = await seedSubscription(
        run.databaseUrl,
        auth.secrets.encryptionKey,
        `day-${n}@example.com`,
      )
      const mailbox = `box-${n}@example.com`
      const channels: Partial<Person['channels']> = {}
      const scopes = ['gmail.readonly', 'drive', 'calendar']
      const googleConnection = await google.seed(mailbox, graph.ownerId, scopes, async (client, id) => {
        for (const kind of ['drive', 'calendar'] as const)
          channels[kind] = await seedChannel(client, auth.secrets.encryptionKey, id, kind)
      })
      const { drive, calendar } = channels
      if (drive === undefined || calendar === undefined) throw new Error('the channels were not made')
      people.push({ graph, mailbox, googleConnection, channels: { drive, calendar } })
    }
    const refused: Record<string, number> = {}
    let acknowledged = 0
    let at = 0
    // from noon to noon, so that midnight is in it
    const noon = DAY_MS - ((Date.now() + DAY_MS / 2) % DAY_MS)
    for (let part = 0; part < run.parts; part += 1) {
      const from = noon + (part * DAY_MS) / run.parts
      await client.query('update auth.clock_offset set offset_ms = $1', [Math.round(from)])
      google.follow(from)
      // processes read the offset each second
      await sleep(1_200)
      const end = ((part + 1) * DAY_MS) / run.parts
      const first = at
      while (at < day.sendings.length && (day.sendings[at]?.at ?? end) < end) at += 1
      const waiting = day.sendings.slice(first, at)
      const sender = async () => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          if (await sendUntilAcknowledged(auth, people, google, next, refused)) acknowledged += 1
        }
      }
      await Promise.all(Array.from({ length: SENDERS }, sender))
      if (part % 12 === 11) print(`${Math.round(end / 3600_000)} h: ${at} of ${day.sendings.length} sent`)
    }

    const { rows } = await client.query<{ data: Buffer; connection_id: string; days: string }>(
      `select data, connection_id, (select count(distinct recorded_at::date) from auth.events) as days
         from auth.events where type like '%.v1.notified'`,
    )
    const stored = new Map<number, string[]>()
    for (const { data, connection_id } of rows) {
      const text = data.toString()
      const n = numberIn(text) ?? messageNumberIn(text) ?? google.numberIn(text)
      stored.set(n, [...(stored.get(n) ?? []), connection_id])
    }
    const problems: string[] = []
    const wrong = (what: string, numbers: readonly number[]) => {
      if (numbers.length > 0) problems.push(`${what}: ${numbers.length} (${numbers.slice(0, 5).join(', ')})`)
    }
    const all = [...day.owners]
    wrong(
      'changes without an event',
      all.flatMap(([n]) => (stored.has(n) ? [] : [n])),
    )
    wrong(
      'changes with more than one event',
      [...stored].flatMap(([n, of]) => (of.length > 1 ? [n] : [])),
    )
    wrong(
      'events of no change',
      [...stored.keys()].filter((n) => !day.owners.has(n)),
    )
    const connectionOf = ({ source, account }: { source: Source; account: number }) =>
      source === 'graph' ? people[account]?.graph.connectionId : people[account]?.googleConnection
    wrong(
      'events of another connection',
      all.flatMap(([n, owner]) =>
        stored.get(n)?.every((id) => id === connectionOf(owner)) === false ? [n] : [],
      ),
    )
    if (acknowledged !== day.sendings.length)
      problems.push(`${day.sendings.length - acknowledged} were never acknowledged`)
    const other = Object.keys(refused).filter((status) => status !== '503')
    if (other.length > 0) problems.push(`answers other than 2xx and 503: ${other.join(', ')}`)
    const sentItems = day.sendings.reduce((sum, { changes }) => sum + changes.length, 0)
    return {
      problems,
      figures: {
        ...{ seed: run.seed, changes: all.length, events: rows.length, requests: day.sendings.length },
        ...{ repeatedItems: sentItems - all.length, refused, daysWithEvents: Number(rows[0]?.days ?? 0) },
        seconds: Math.round((performance.now() - began) / 1000),
      },
    }
  } finally {
    await client.end()
    await auth.stop()
    await google.close()
  }
}

async function sendUntilAcknowledged(
  auth: AuthUnderFault,
  people: readonly Person[],
  google: PushSender,
  { source, account, changes }: Sending,
  refused: Record<string, number>,
): Promise<boolean> {
  const person = people[account]
  const [n = 0] = changes
  if (person === undefined) return false
  const request = (): { path: string; headers: Readonly<Record<string, string>>; body?: string } => {
    switch (source) {
      case 'graph':
        return { path: person.graph.path, headers: JSON_TYPE, body: graphBody(person.graph, changes) }
      case 'gmail':
        return {
          path: GOOGLE_PUSH.path,
          headers: { ...JSON_TYPE, authorization: google.bearer() },
          body: google.body(person.mailbox, n),
        }
      default: {
        const channel = person.channels[source]
        return { path: channel.path, headers: channel.headers(n) }
      }
    }
  }
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { path, ...rest } = request()
    const answer = await fetch(`${auth.webhooks}${path}`, { method: 'POST', ...rest })
    await answer.arrayBuffer()
    if (isAcknowledgement(answer.status)) return true
    refused[answer.status] = (refused[answer.status] ?? 0) + 1
    await sleep(50)
  }
  return false
}

/** Graph puts several changes of a subscription into one request. */
function graphBody(graph: Seeded, changes: readonly number[]): string {
  const items = changes.map((n) => {
    const { value } = JSON.parse(graph.notification(n).toString()) as { value: unknown[] }
    return value[0]
  })
  return JSON.stringify({ value: items })
}
