/**
 * Rules change while notifications stream in, two processes behind one port. Each change is told to one process only; the
 * other one learns of it by the revision. The port is a relay that gives connections to one after the other, because the
 * door itself does not share its port with another process.
 */
import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { type AuthUnderFault, startAuthUnderFault } from '../../src/auth-process.ts'
import { numberIn } from '../../src/ledgers.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { seedSubscription } from '../../src/seed.ts'

const STEPS = 30
const SENDERS = 12

/** All in milliseconds of this process's monotonic clock. */
interface Change {
  readonly destinationId: string
  readonly createBegun: number
  readonly createAnswered: number
  removeBegun: number
  removeAnswered: number
}
interface Sent {
  readonly n: number
  readonly begun: number
  readonly answered: number
  readonly status: number
}

test('WI-04 a notification that arrives after a change was answered as saved is never routed by the older rules', async () => {
  await onOwnDatabase(async (databaseUrl, directory) => {
    const options = { databaseUrl, directory, receiverPort: 9, role: 'door' as const }
    const first = await startAuthUnderFault({ ...options, name: 'door-1' })
    const second = await startAuthUnderFault({ ...options, name: 'door-2', secrets: first.secrets })
    const relay = await openRelay([first.publicPort, second.publicPort])
    try {
      const seeded = await seedSubscription(databaseUrl, first.secrets.encryptionKey)
      const stream = startStream(relay.port, seeded.path, seeded.notification)
      const changes = await changeRules([first, second])
      const sent = await stream.stop()
      const routed = await readRouted(databaseUrl)

      const acknowledged = sent.filter(({ status }) => status === 202)
      const problems: string[] = []
      let judged = 0
      for (const one of acknowledged) {
        const destinations = routed.get(one.n)
        if (destinations === undefined) problems.push(`${one.n} is not stored`)
        for (const change of changes) {
          const expected = mustGo(one, change)
          if (expected === undefined) continue
          judged += 1
          if (destinations?.has(change.destinationId) !== expected)
            problems.push(`${one.n} ${expected ? 'missed a rule in force' : 'went by a rule not in force'}`)
        }
      }
      expect(problems).toEqual([])
      expect(sent.filter(({ status }) => status !== 202 && status !== 503)).toEqual([])
      expect(acknowledged.length).toBeGreaterThan(STEPS * 5)
      expect(acknowledged.some((one) => changes.some((change) => mustGo(one, change) === true))).toBe(true)
      expect(judged).toBeGreaterThan(acknowledged.length * (STEPS - 5))
      expect(Math.min(...relay.served())).toBeGreaterThan(STEPS)
    } finally {
      await relay.close()
      await Promise.all([first.stop(), second.stop()])
    }
  })
}, 180_000)

/** @returns undefined while the change itself was under way: then both are right */
function mustGo(one: Sent, change: Change): boolean | undefined {
  if (one.answered < change.createBegun || one.begun > change.removeAnswered) return false
  return one.begun > change.createAnswered && one.answered < change.removeBegun ? true : undefined
}

/** Each process in turn makes a rule and takes away the one that the other has made. */
async function changeRules(processes: readonly AuthUnderFault[]): Promise<Change[]> {
  const auth = (n: number) => processes[n % processes.length] ?? processes[0]
  const changes: Change[] = []
  let before: { change: Change; ruleId: string } | undefined
  for (let n = 0; n <= STEPS; n += 1) {
    const destination = await auth(n)?.call('POST', '/internal/destinations', {
      name: `number ${n}`,
      url: `http://127.0.0.1:9/hook/${n}`,
    })
    const destinationId = String(destination?.id)
    const createBegun = performance.now()
    const rule = await auth(n)?.call('POST', '/internal/rules', {
      name: 'mail',
      destination_id: destinationId,
      types: ['mail.*'],
    })
    const createAnswered = performance.now()
    const never = Number.POSITIVE_INFINITY
    const change = { destinationId, createBegun, createAnswered, removeBegun: never, removeAnswered: never }
    changes.push(change)
    await sleep(40)
    if (before !== undefined) {
      before.change.removeBegun = performance.now()
      await auth(n)?.call('DELETE', `/internal/rules/${before.ruleId}`)
      before.change.removeAnswered = performance.now()
      await sleep(40)
    }
    before = { change, ruleId: String(rule?.id) }
  }
  return changes
}

function startStream(port: number, path: string, notification: (n: number) => Buffer) {
  const sent: Sent[] = []
  let next = 0
  let stopped = false
  const send = async () => {
    while (!stopped) {
      next += 1
      const n = next
      const begun = performance.now()
      const status = await post(port, path, notification(n))
      sent.push({ n, begun, answered: performance.now(), status })
    }
  }
  const all = Promise.all(Array.from({ length: SENDERS }, send))
  return {
    async stop() {
      stopped = true
      await all
      return sent
    },
  }
}

/** A connection for each, so that the relay decides about each. */
function post(port: number, path: string, body: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const asking = request(
      { host: '127.0.0.1', port, path, method: 'POST', agent: false, headers },
      (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
      },
    )
    asking.on('error', () => resolve(0))
    asking.end(body)
  })
}

async function openRelay(ports: readonly number[]) {
  const served = ports.map(() => 0)
  let turn = 0
  const server = createServer((incoming) => {
    turn = (turn + 1) % ports.length
    served[turn] = (served[turn] ?? 0) + 1
    const outgoing = connect({ port: ports[turn] ?? 0, host: '127.0.0.1' })
    incoming.pipe(outgoing).pipe(incoming)
    incoming.on('error', () => outgoing.destroy())
    outgoing.on('error', () => incoming.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    served: () => served,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}

/** @returns where each stored notification goes, by its number */
async function readRouted(databaseUrl: string): Promise<Map<number, Set<string>>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<{ data: Buffer; destinations: string[] }>(
      `select e.data, array(select d.destination_id from auth.deliveries d where d.event_id = e.id) as destinations
         from auth.events e where e.type like '%mail.mailbox.v1.notified'`,
    )
    return new Map(
      rows.map(({ data, destinations }) => [numberIn(data.toString()) ?? -1, new Set(destinations)]),
    )
  } finally {
    await client.end()
  }
}
