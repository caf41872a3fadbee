/** Begins and ends listening: a taken port is an error, and an end waits for answers under way, within a grace. */
import type { Server } from 'node:http'
import { type AddressInfo, Server as NetServer } from 'node:net'

/**
 * As many as Linux lets wait by default; it takes less where less is configured. With Node's 511 the rest of a thousand
 * senders that connect at once (after a restart, behind a proxy) is not heard, and each tries again a second later.
 */
const WAITING_CONNECTIONS = 4_096

export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: WAITING_CONNECTIONS }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** For so long after the last new connection the kept ones are still served, and told to close with their next answer. */
const LINGER_MS = 500

/**
 * Takes no new connection; answers under way are finished. A sender that is just about to use a kept connection would
 * find it reset, and many do not repeat a POST: kept ones are served a moment longer, each answer saying that it was the
 * last. Then idle ones are closed, and what is left after the grace is cut.
 */
export function closeDoor(server: Server, graceMs: number): Promise<void> {
  if (!server.listening) return Promise.resolve()
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    // what an HTTP server adds to this is closing the idle connections at once
    const idle = setTimeout(() => server.close(() => {}), Math.min(LINGER_MS, graceMs))
    server.prependListener('request', (_request, response) => response.setHeader('connection', 'close'))
    NetServer.prototype.close.call(server, () => {
      clearTimeout(cut)
      clearTimeout(idle)
      // ends its own timers too; it does not listen any more, which it would take for an error
      server.close(() => {})
      resolve()
    })
  })
}

export const portOf = (server: Server): number => (server.address() as AddressInfo | null)?.port ?? 0

/** Waits, but not for ever: what a lease or a flow holds is recovered by the next process. */
export async function withinGrace(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}
