/**
 * An HTTP/1.1 load generator on plain sockets, one request under way on each: as fast as the answers come, or at a given
 * rate. It parses just enough of an answer to know its status and length, so that it costs less than what it measures. It
 * sends to loopback only, for a bounded time, and stops by itself.
 */
import { connect, type Socket } from 'node:net'

export interface Load {
  readonly port: number
  /** One for all, or one of each request. */
  readonly path: string | ((n: number) => string)
  readonly connections: number
  readonly seconds: number
  /** So many requests a second, evenly; a request that has to wait for a connection is late, and counted from when it was due. */
  readonly perSecond?: number
  readonly headers?: Readonly<Record<string, string>>
  /** @param n counts all requests of this run */
  body(n: number): Buffer
}

export interface LoadResult {
  readonly requests: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly statuses: Readonly<Record<string, number>>
}

export async function runLoad(load: Load): Promise<LoadResult> {
  const latencies: number[] = []
  const statuses: Record<string, number> = {}
  let sent = 0
  const started = performance.now()
  const end = started + load.seconds * 1000
  const extra = Object.entries(load.headers ?? {})
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  const drive = (socket: Socket) =>
    new Promise<void>((resolve, reject) => {
      let pending = Buffer.alloc(0)
      let at = 0
      const send = () => {
        const now = performance.now()
        if (now >= end) {
          socket.end()
          resolve()
          return
        }
        const due = load.perSecond === undefined ? now : started + (sent * 1000) / load.perSecond
        if (due > now) {
          setTimeout(send, Math.min(due, end) - now)
          return
        }
        at = due
        const body = load.body(sent)
        const path = typeof load.path === 'string' ? load.path : load.path(sent)
        sent += 1
        // one piece: latin1 keeps the bytes of an ASCII body as they are
        socket.write(
          `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${load.port}\r\nContent-Type: application/json\r\n${extra}Content-Length: ${body.length}\r\n\r\n${body.toString('latin1')}`,
          'latin1',
        )
      }
      socket.on('data', (chunk) => {
        pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
        const split = pending.indexOf('\r\n\r\n')
        if (split === -1) return
        const head = pending.toString('latin1', 0, split)
        const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0)
        if (pending.length < split + 4 + length) return
        pending = Buffer.alloc(0)
        latencies.push(performance.now() - at)
        const status = head.slice(9, 12)
        statuses[status] = (statuses[status] ?? 0) + 1
        send()
      })
      socket.on('error', reject)
      socket.on('connect', send)
    })

  await Promise.all(
    Array.from({ length: load.connections }, () =>
      drive(connect({ port: load.port, host: '127.0.0.1', noDelay: true })),
    ),
  )
  const elapsed = (performance.now() - started) / 1000
  latencies.sort((a, b) => a - b)
  const quantile = (q: number) =>
    Number((latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0).toFixed(2))
  return {
    requests: latencies.length,
    perSecond: Math.round(latencies.length / elapsed),
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    statuses,
  }
}
