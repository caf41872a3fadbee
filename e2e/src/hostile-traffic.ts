/**
 * F19: what breaks readers, sent as genuine: Graph notifications with the right secret and a hostile member, and signed
 * relays whose whole body is hostile and is stored and delivered. What must hold: each is answered with a status of its
 * kind, what was accepted is delivered as it is, no process ends, and ordinary notifications beside it are not lost.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { numberIn } from './ledgers.ts'
import { judge, RETRY_MS, type Receiving, withReceiving } from './receiving.ts'
import { startSender } from './restarts.ts'
import { seedSubscription } from './seed.ts'

export interface HostileTraffic {
  readonly seconds: number
  readonly perSecond: number
}

const RELAY_SECRET = randomBytes(32).toString('base64url')
const PAUSE_MS = 20
const DELIVERED_WITHIN_MS = 60_000

/** What stands where JSON is expected. */
const HOSTILE: readonly (readonly [name: string, text: string | Buffer])[] = [
  ['a depth of 100,000', '['.repeat(100_000)],
  ['a closed depth of 20,000', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
  ['the deepest that is read', `${'['.repeat(60)}1${']'.repeat(60)}`],
  ['a number of half a megabyte', '9'.repeat(500_000)],
  ['a number without end', '1e999999'],
  ['the longest number that is read', `1${'0'.repeat(60)}`],
  ['half a megabyte of text', `"${'x'.repeat(500_000)}"`],
  ['NUL', '"a\\u0000b"'],
  ['a lone surrogate', '"\\ud800"'],
  ['invalid UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
  ['a prototype', '{"__proto__":{"isAdmin":true}}'],
  ['a constructor', '{"constructor":{"prototype":{"x":1}}}'],
  ['a key twice', '{"a":1,"a":2}'],
  ['line ends', '"a\\r\\nevil: header\\r\\n\\r\\n"'],
  ['escapes for a terminal', '"\\u001b[2J\\u0007"'],
  ['letters that turn', '"\\u202e\\u2066"'],
  ['nothing', ''],
]

/** The long form. */
export const hostileTrafficAtSize = (print: Print): Promise<FaultResult> =>
  withHostileTraffic((world) => sendHostileTraffic(world, { seconds: 420, perSecond: 50 }, print))

export const withHostileTraffic = <T>(work: (world: Receiving) => Promise<T>): Promise<T> =>
  withReceiving({ environment: { MICROSOFT_WEBHOOK_SECRET: RELAY_SECRET } }, work)

export async function sendHostileTraffic(
  world: Receiving,
  run: HostileTraffic,
  print: Print,
): Promise<FaultResult> {
  const { door, worker, seeded, receiver } = world
  const pids = [door.child.pid, worker.child.pid]
  const { items } = (await door.call('GET', '/internal/destinations')) as { items: { id: string }[] }
  await door.call('POST', '/internal/rules', {
    name: 'relays',
    destination_id: items[0]?.id,
    types: ['relay.*'],
  })
  const sender = startSender([door], seeded, run.perSecond, RETRY_MS)
  const other = await seedSubscription(world.databaseUrl, door.secrets.encryptionKey, 'hostile@example.com')
  const problems: string[] = []
  const answers: Record<string, number> = {}
  const accepted = new Set<string>()
  const post = async (path: string, body: Buffer, signed: boolean) => {
    const signature = createHmac('sha256', RELAY_SECRET).update(body).digest('hex')
    const headers = { 'content-type': 'application/json', ...(signed && { 'x-ms-signature': signature }) }
    const answer = await fetch(`${door.webhooks}${path}`, {
      method: 'POST',
      headers,
      body: new Uint8Array(body),
    })
    await answer.arrayBuffer()
    answers[answer.status] = (answers[answer.status] ?? 0) + 1
    return answer.status
  }
  let rounds = 0
  for (const end = Date.now() + run.seconds * 1_000; Date.now() < end || rounds === 0; rounds += 1) {
    for (const [name, text] of HOSTILE) {
      const graph = await post(other.path, beside(other.notification('hostile'), text), false)
      if (![202, 400, 413, 503].includes(graph)) problems.push(`Graph with ${name}: ${graph}`)
      // each round is another body, since the same one is the same event
      const mark = `relay ${rounds} ${name}`
      const relay = Buffer.concat([
        Buffer.from(`{"mark":"${mark}","hostile":`),
        Buffer.from(text),
        Buffer.from('}'),
      ])
      const told = await post('/webhook/events/microsoft', relay, true)
      if (told === 200) accepted.add(createHmac('sha256', '').update(relay).digest('hex'))
      else if (told !== 413 && told !== 503) problems.push(`a relay with ${name}: ${told}`)
      await sleep(PAUSE_MS)
    }
    if (rounds % 50 === 49) print(`${rounds + 1} rounds of ${HOSTILE.length}`)
  }
  const { ledger } = await sender.stop()
  const relays = () =>
    receiver.received().filter(({ type, verified }) => verified && type?.includes('relay.message'))
  for (const end = Date.now() + DELIVERED_WITHIN_MS; relays().length < accepted.size && Date.now() < end; )
    await sleep(100)
  const judged = await judge(world, ledger, { only: ({ body }) => numberIn(body) !== undefined })
  if (relays().length !== accepted.size)
    problems.push(`${accepted.size} relays were accepted and ${relays().length} delivered`)
  if (door.child.pid !== pids[0] || worker.child.pid !== pids[1]) problems.push('a process ended')
  return {
    problems: [...judged.problems, ...new Set(problems)],
    figures: { ...judged.figures, rounds, hostile: answers, relaysDelivered: relays().length },
  }
}

/** A member that nobody knows, beside those that prove the item. */
function beside(notification: Buffer, text: string | Buffer): Buffer {
  const [head = '', rest = ''] = notification.toString().split('{"value":[{')
  return Buffer.concat([
    Buffer.from(`${head}{"value":[{"hostile":`),
    Buffer.from(text),
    Buffer.from(`,${rest}`),
  ])
}
