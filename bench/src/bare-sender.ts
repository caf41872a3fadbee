/**
 * The ceiling of sending: a loop over `undici` that signs each body as a delivery is signed and posts it, so many at
 * once, for so many seconds. A process of its own, as a worker is. Arguments: port, concurrency, seconds, bytes.
 */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { Agent, request } from 'undici'

const [port = 0, concurrency = 1, seconds = 1, bytes = 1] = process.argv.slice(2).map(Number)
const key = createSecretKey(randomBytes(32))
const body = Buffer.alloc(bytes, 'x')
const dispatcher = new Agent({ pipelining: 1, connections: concurrency })
const end = performance.now() + seconds * 1_000
const began = performance.now()
const spent = process.cpuUsage()
let sent = 0

async function loop(): Promise<void> {
  while (performance.now() < end) {
    const id = `evt_${sent}`
    const timestamp = String(Math.floor(Date.now() / 1_000))
    const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
    const answer = await request(`http://127.0.0.1:${port}/hook/0`, {
      dispatcher,
      method: 'POST',
      headers: {
        'content-type': 'application/cloudevents+json; charset=utf-8',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${signature}`,
      },
      body,
    })
    await answer.body.dump()
    sent += 1
  }
}
await Promise.all(Array.from({ length: concurrency }, loop))
const { user, system } = process.cpuUsage(spent)
process.stdout.write(
  `${JSON.stringify({
    perSecond: Math.round((sent / (performance.now() - began)) * 1_000),
    sent,
    cpuUs: Math.round((user + system) / sent),
  })}\n`,
)
await dispatcher.close()
