/** Begins and ends listening: a taken port is an error, and an end waits for answers under way, within a grace. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Answers under way are finished; idle connections are closed at once; what is left after the grace is cut. */
export function closeDoor(server: Server, graceMs: number): Promise<void> {
  if (!server.listening) return Promise.resolve()
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
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
