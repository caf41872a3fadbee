/**
 * A TCP proxy before the real PostgreSQL, so that one world can lose its database and find it again: `down` closes every
 * connection and refuses new ones, `hang` keeps them and forwards nothing any more, `slow` forwards late. It never looks
 * at a byte.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface DatabaseProxy {
  /** The same database, through the proxy. */
  url(databaseUrl: string): string
  down(): Promise<void>
  hang(): void
  /** From now on each byte is that late, in both directions. */
  slow(ms: number): void
  up(): Promise<void>
  close(): Promise<void>
}

export async function openDatabaseProxy(postgresUrl: string): Promise<DatabaseProxy> {
  const { hostname, port } = new URL(postgresUrl)
  const sockets = new Set<Socket>()
  let hanging = false
  let lateMs = 0
  let server: Server = serve()
  await listen(server, 0)
  const address = server.address()
  const own = typeof address === 'object' && address !== null ? address.port : 0

  function serve(): Server {
    return createServer((near) => {
      const far = connect(Number(port), hostname)
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket)
        socket.on('data', (chunk) => {
          if (hanging) return
          // timers of one duration keep their order
          if (lateMs > 0) setTimeout(() => other.writable && other.write(chunk), lateMs)
          else other.write(chunk)
        })
        socket.on('error', () => other.destroy())
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
      }
    })
  }
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const down = () =>
    new Promise<void>((resolve) => {
      if (!server.listening) return resolve()
      server.close(() => resolve())
      cut()
    })
  return {
    url: (databaseUrl) => {
      const url = new URL(databaseUrl)
      url.host = `127.0.0.1:${own}`
      return url.href
    },
    down,
    hang: () => {
      hanging = true
    },
    slow: (ms) => {
      lateMs = ms
    },
    up: async () => {
      // what is still on its way late must not arrive after what is sent from now on
      if (hanging || lateMs > 0) cut()
      hanging = false
      lateMs = 0
      if (server.listening) return
      server = serve()
      await listen(server, own)
    },
    close: down,
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve())
  })
}
