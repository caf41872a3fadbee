/**
 * A thread that floods a public door with what proves nothing, from an address of its own, until its time is over: forged
 * addresses, unsigned messages, large bodies. It counts the answers, and asks again at once whatever they were.
 */
import { Agent, request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'

export interface FloodOptions {
  readonly port: number
  /** Whose address: one of the loopback network. */
  readonly localAddress: string
  readonly seconds: number
  readonly connections: number
}

export interface FloodCount {
  /** Answers by status; 0 is a connection that broke. */
  readonly answers: Readonly<Record<string, number>>
  readonly seconds: number
}

const KINDS = [
  { path: '/webhook/events/microsoft/forged.reference', body: Buffer.from('{"value":[]}') },
  { path: '/webhook/events/google', body: Buffer.from('{"message":{"data":"e30=","messageId":"1"}}') },
  { path: '/webhook/events/nobody', body: Buffer.from('{}') },
  { path: '/webhook/events/google', body: Buffer.alloc(64 * 1024, 'x') },
] as const

async function flood({ port, localAddress, seconds, connections }: FloodOptions): Promise<FloodCount> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const answers: Record<string, number> = {}
  const began = performance.now()
  const end = began + seconds * 1_000
  const post = (n: number): Promise<number> => {
    const { path, body } = KINDS[n % KINDS.length] ?? KINDS[0]
    return new Promise((resolve) => {
      const asking = request(
        {
          host: '127.0.0.1',
          port,
          localAddress,
          path,
          method: 'POST',
          agent,
          timeout: 10_000,
          headers: { 'content-type': 'application/json', 'content-length': body.length },
        },
        (answer) => {
          answer.resume()
          answer.on('end', () => resolve(answer.statusCode ?? 0))
          answer.on('error', () => resolve(0))
        },
      )
      asking.on('timeout', () => asking.destroy())
      asking.on('error', () => resolve(0))
      asking.end(body)
    })
  }
  const loop = async (first: number) => {
    for (let n = first; performance.now() < end; n += 1) {
      const status = await post(n)
      answers[status] = (answers[status] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: connections }, (_, n) => loop(n)))
  agent.destroy()
  return { answers, seconds: (performance.now() - began) / 1_000 }
}

if (parentPort !== null) parentPort.postMessage(await flood(workerData as FloodOptions))
