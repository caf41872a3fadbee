/**
 * `npm run faults -- <name>`: faults that take longer than a minute, on real processes. Starts everything itself, prints
 * as it goes, writes what was measured to `e2e/results/<name>.json`, and ends with 1 when something did not hold. Short
 * forms of the same faults are part of `npm test`.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { arch, cpus, platform, totalmem } from 'node:os'
import { measuredCommit } from './measured-commit.ts'

export type Print = (line: string) => void

export interface FaultResult {
  /** Sentences; empty when everything held. */
  readonly problems: readonly string[]
  /** What was measured. */
  readonly figures: Readonly<Record<string, unknown>>
}

export interface Fault {
  /** One line, with its duration. */
  readonly summary: string
  run(print: Print): Promise<FaultResult>
}

/** One line for each: the function is loaded when it is asked for. */
const FAULTS: Readonly<Record<string, Fault>> = {
  rewrap: {
    summary: 'a key rotation over 100,000 rows at 200 reads/s, kill -9 in the middle, about eight minutes',
    run: async (print) => (await import('./rewrap-fault.ts')).rewrapAtSize(print),
  },
  'refresh-storm': {
    summary: '10,000 tokens that expire in the same minute, 50 refreshes/s allowed, about six minutes',
    run: async (print) => (await import('./refresh-storm.ts')).stormAtSize(print),
  },
  'refresh-outage': {
    summary: 'the same with the provider down for two simulated hours, about eight minutes',
    run: async (print) => (await import('./refresh-outage.ts')).outageAtSize(print),
  },
  subscriptions: {
    summary: '1,000 connections through 30 simulated days with faults by a seed, about half an hour',
    run: async (print) => (await import('./subscription-weeks.ts')).weeksAtSize(print),
  },
  'subscription-scale': {
    summary: '10,000 subscriptions made and renewed, the providers away for six hours, about twenty minutes',
    run: async (print) => (await import('./subscription-scale.ts')).scaleAtSize(print),
  },
  backlog: {
    summary:
      'a million deliveries waiting at 200 destinations, then a forgotten transaction, about six minutes',
    run: async (print) => (await import('./backlog.ts')).backlogAtSize(print),
  },
  receivers: {
    summary:
      'receivers that are down, flaky, throttled, slow and gone beside one that is well, about four minutes',
    run: async (print) => (await import('./misbehaving.ts')).misbehaveAtSize(print),
  },
  kills: {
    summary: '20 times kill -9 of one of two processes under load, about four minutes',
    run: async (print) => (await import('./restarts.ts')).killsAtSize(print),
  },
  'ingest-kills': {
    summary: 'kill -9 of the receiving process every one to three seconds at 200/s, about eleven minutes',
    run: async (print) => (await import('./ingest-kills.ts')).ingestKillsAtSize(print),
  },
  'postgres-kills': {
    summary: 'PostgreSQL killed ten times, and with synchronous_commit=off seen as loss, about six minutes',
    run: async (print) => (await import('./postgres-kills.ts')).postgresKillsAtSize(print),
  },
  'slow-database': {
    summary: 'PostgreSQL two seconds late, all connections waiting, deadlocks, by turns, about ten minutes',
    run: async (print) => (await import('./slow-database.ts')).slowDatabaseAtSize(print),
  },
  'disk-full': {
    summary: 'the disk of PostgreSQL full ten times for a quarter of a minute, about eight minutes',
    run: async (print) => (await import('./disk-full.ts')).diskFullAtSize(print),
  },
  'shuffled-copies': {
    summary: '30,000 notifications five times each in any order, about five minutes',
    run: async (print) => (await import('./shuffled-copies.ts')).shuffledCopiesAtSize(print),
  },
  'hostile-traffic': {
    summary: 'bodies that break readers beside ordinary notifications, about eight minutes',
    run: async (print) => (await import('./hostile-traffic.ts')).hostileTrafficAtSize(print),
  },
  'keys-away': {
    summary:
      'a provider’s signing keys away for six simulated hours, rotated, invented in floods, about four minutes',
    run: async (print) => (await import('./keys-away.ts')).keysAwayAtSize(print),
  },
  'slow-sockets': {
    summary:
      'a thousand sockets with slow headers and a thousand with slow bodies, three times, about a minute',
    run: async (print) => (await import('./slow-sockets.ts')).slowSocketsAtSize(print),
  },
  soak: {
    summary: '50/s with a fault of the database or a burst of forgeries every ten seconds, about ten minutes',
    run: async (print) => (await import('./soak.ts')).soakAtSize(print),
  },
  restarts: {
    summary: '20 rolling restarts of two processes under load, about three minutes',
    run: async (print) => (await import('./restarts.ts')).restartsAtSize(print),
  },
  day: {
    summary: '24 hours of both providers, repeated, regrouped and out of order, by seed, about three minutes',
    run: async (print) => (await import('./day.ts')).dayAtSize(print),
  },
  flood: {
    summary:
      'forgeries as fast as they go from another address beside 50 genuine ones a second, about a minute',
    run: async (print) => (await import('./flood.ts')).floodAtSize(print),
  },
  mutants: {
    summary: 'the guards of receiving taken away one at a time, each missed by a test, about ten minutes',
    run: async (print) => (await import('./mutants/receiving.ts')).receivingMutants(print),
  },
  outage: {
    summary: 'a receiver that is down for six simulated hours and comes back, about a minute',
    run: async (print) =>
      (await import('./tested-fault.ts')).runTested('auth/test/delivery/outage.test.ts', print),
  },
  'kill-points': {
    summary: 'kill -9 of a working process at five points of a delivery, about a minute',
    run: async (print) =>
      (await import('./tested-fault.ts')).runTested('e2e/test/faults/killed-worker.test.ts', print),
  },
  'hanging-destination': {
    summary: 'one destination of 50 never answers for ten minutes, the others’ times, about fourteen minutes',
    run: async (print) => (await import('./hanging-destination.ts')).hangAtSize(print),
  },
}

const name = process.argv[2]
const fault = name !== undefined && Object.hasOwn(FAULTS, name) ? FAULTS[name] : undefined
if (name === undefined || fault === undefined) {
  const lines = Object.entries(FAULTS).map(([known, { summary }]) => `  ${known.padEnd(22)}${summary}\n`)
  process.stdout.write(`Usage: npm run faults -- <name>\n\n${lines.join('')}`)
  process.exit(name === '--help' || name === '-h' ? 0 : 2)
}

const commit = measuredCommit()
const startedAt = new Date()
const result = await fault.run((line) => process.stdout.write(`${line}\n`))
const seconds = Math.round((Date.now() - startedAt.getTime()) / 1000)
const machine = {
  platform: `${platform()} ${arch()}`,
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
}
const folder = new URL('../results/', import.meta.url)
await mkdir(folder, { recursive: true })
await writeFile(
  new URL(`${name}.json`, folder),
  `${JSON.stringify({ name, commit, date: startedAt.toISOString(), seconds, machine, ...result }, null, 2)}\n`,
)
process.stdout.write(`${JSON.stringify(result.figures, null, 2)}\n`)
for (const problem of result.problems) process.stdout.write(`PROBLEM: ${problem}\n`)
process.stdout.write(
  result.problems.length === 0 ? `${name}: held, ${seconds} s\n` : `${name}: did NOT hold\n`,
)
process.exit(result.problems.length === 0 ? 0 : 1)
