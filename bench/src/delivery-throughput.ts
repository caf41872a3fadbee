/**
 * Signed deliveries a second of a real worker process against a bare loop over `undici` to the same receiver, rounds
 * interleaved, and what each of them costs: CPU time of the sender, of PostgreSQL and of the receiver for one delivery.
 * All share the machine, so the time on the clock depends on its cores; the CPU time does not.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { costOf, costOfFamily, parentOf } from '../../e2e/src/process-cost.ts'
import { lineOf } from './tool.ts'

export interface ThroughputPlace {
  /** Of PostgreSQL. */
  readonly client: pg.Client
  readonly receiver: { readonly port: number; readonly pid: number }
  readonly workerPid: number
}

interface Round {
  readonly perSecond: number
  /** CPU time in microseconds for each delivery; absent where there is no `/proc`. */
  readonly cpuUs: Readonly<Record<'sender' | 'postgres' | 'receiver', number>> | undefined
}

export interface ThroughputFigures {
  readonly rounds: readonly { readonly bare: Round; readonly ours: Round }[]
  readonly ratio: number
}

const ROUNDS = 3
const SECONDS = 5
const BODY_BYTES = 700
/** Under way at once; more make the bare loop slower. */
const BARE_CONCURRENCY = 200
/** More than can be sent. */
const PER_SECOND_AT_MOST = 20_000

type Say = (line: string) => void

export async function measureThroughput(say: Say, place: ThroughputPlace): Promise<ThroughputFigures> {
  say('throughput: warming up')
  await ours(place, 3)
  await bare(place, 2)
  const rounds: { bare: Round; ours: Round }[] = []
  for (let n = 1; n <= ROUNDS; n += 1) {
    const round = { bare: await bare(place, SECONDS), ours: await ours(place, SECONDS) }
    rounds.push(round)
    say(`round ${n}  bare undici loop ${told(round.bare)}`)
    say(`         ours, claimed, signed, settled ${told(round.ours)}`)
  }
  const sum = (pick: (one: { bare: Round; ours: Round }) => number) =>
    rounds.reduce((total, one) => total + pick(one), 0)
  const ratio = sum((one) => one.ours.perSecond) / sum((one) => one.bare.perSecond)
  say(`deliveries ÷ bare loop: ${ratio.toFixed(2)}`)
  return { rounds, ratio }
}

async function bare({ receiver }: ThroughputPlace, seconds: number): Promise<Round> {
  const before = await costOf(receiver.pid)
  const args = [receiver.port, BARE_CONCURRENCY, seconds, BODY_BYTES].map(String)
  const loop = JSON.parse(await lineOf('bench/src/bare-sender.ts', args)) as {
    perSecond: number
    sent: number
    cpuUs: number
  }
  const after = await costOf(receiver.pid)
  return {
    perSecond: loop.perSecond,
    cpuUs: before &&
      after && { sender: loop.cpuUs, postgres: 0, receiver: each(before.cpuMs, after.cpuMs, loop.sent) },
  }
}

/** What is left is taken away, so that the bare loop has the machine for itself. */
async function ours({ client, receiver, workerPid }: ThroughputPlace, seconds: number): Promise<Round> {
  await preload(client, (seconds + 2) * PER_SECOND_AT_MOST)
  await sleep(1_000)
  const postmaster = await postmasterOf(client)
  const look = async () => ({
    sender: await costOf(workerPid),
    postgres: postmaster === undefined ? undefined : await costOfFamily(postmaster),
    receiver: await costOf(receiver.pid),
    count: await countAt(receiver.port),
    at: performance.now(),
  })
  const before = await look()
  await sleep(seconds * 1_000)
  const after = await look()
  while ((await client.query('select 1 from auth.deliveries limit 1')).rows.length > 0) {
    await client.query('delete from auth.deliveries where lease_until is null')
    await sleep(100)
  }
  await client.query('vacuum auth.deliveries')
  const count = after.count - before.count
  const cost = (which: 'sender' | 'postgres' | 'receiver') =>
    each(before[which]?.cpuMs ?? Number.NaN, after[which]?.cpuMs ?? Number.NaN, count)
  return {
    perSecond: Math.round((count / (after.at - before.at)) * 1_000),
    cpuUs:
      before.sender && before.postgres
        ? { sender: cost('sender'), postgres: cost('postgres'), receiver: cost('receiver') }
        : undefined,
  }
}

/** One event for each delivery; ids begin with their time and a group has one time, as ingest makes them. */
export async function preload(client: pg.Client, many: number): Promise<void> {
  await client.query(
    `with numbered as (
       select 'evt_' || left(md5(random()::text), 26) as id,
              'dlv_' || lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || left(md5(random()::text), 14) as delivery,
              date_trunc('milliseconds', auth.clock()) - interval '5 seconds' + n / 128 * interval '1 ms' as at
         from generate_series(1, $2::int) n),
     event as (
       insert into auth.events (id, recorded_at, type, source, data)
       select id, at, 'ca.flovify.mail.mailbox.v1.notified', 'https://bench.test/x', convert_to(rpad('{"specversion":"1.0"', $1, 'x'), 'UTF8')
         from numbered)
     insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
     select n.delivery, n.id, n.at, d.id, 'rul_bench', n.at, n.at
       from numbered n, (select id from auth.destinations limit 1) d`,
    [BODY_BYTES, many],
  )
  await client.query('analyze auth.deliveries')
}

/** The parent of our own backend. */
async function postmasterOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0] && (await parentOf(rows[0].pid))
}

const each = (beforeMs: number, afterMs: number, count: number) =>
  Math.round(((afterMs - beforeMs) * 1_000) / count)

const told = ({ perSecond, cpuUs }: Round) =>
  `${perSecond}/s${cpuUs === undefined ? '' : `   CPU each: sender ${cpuUs.sender} µs, PostgreSQL ${cpuUs.postgres} µs, receiver ${cpuUs.receiver} µs`}`

const countAt = async (port: number) =>
  ((await (await fetch(`http://127.0.0.1:${port}/count`)).json()) as { count: number }).count
