/** Asks the operating system for free TCP ports on 127.0.0.1. A port may be taken again before it is used. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string')
    throw Object.assign(new Error('a TCP server has no TCP address'), { code: 'no_address' })
  return address.port
}

/** True when the port can be listened on; also false when something answers on it by another address. */
export async function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  if (await answers(port, host)) return false
  const server = createServer()
  try {
    server.listen(port, host)
    await once(server, 'listening')
    server.close()
    await once(server, 'close')
    return true
  } catch {
    return false
  }
}

function answers(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 1_000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })
}
