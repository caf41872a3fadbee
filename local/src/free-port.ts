/**
 * Free TCP ports on 127.0.0.1 for programs that are told their port. Two processes never get the same one: each takes
 * whole blocks of ports and holds the first port of a block as its lock. All lie below the ports that operating systems
 * give to outgoing connections, so that none is taken between its choice and its use.
 */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'

/** Linux gives outgoing connections 32768 and above, macOS and Windows 49152 and above. */
const FIRST = 10_000
const BLOCKS = 227
const BLOCK_SIZE = 100

/** What is left of the block that this process holds. */
let block = { next: 0, end: 0 }
let claiming: Promise<void> | undefined

/** @throws Error with the code `no_free_port` when every block is held by somebody */
export async function freePort(): Promise<number> {
  for (;;) {
    while (block.next >= block.end) {
      claiming ??= claimBlock().finally(() => {
        claiming = undefined
      })
      await claiming
    }
    const port = block.next++
    const server = await listen(port)
    if (server === undefined) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

async function claimBlock(): Promise<void> {
  const offset = randomInt(BLOCKS)
  for (let tried = 0; tried < BLOCKS; tried++) {
    const first = FIRST + ((offset + tried) % BLOCKS) * BLOCK_SIZE
    const lock = await listen(first)
    if (lock === undefined) continue
    lock.unref() // held until the process ends
    block = { next: first + 1, end: first + BLOCK_SIZE }
    return
  }
  throw Object.assign(new Error('no block of ports on 127.0.0.1 is free'), { code: 'no_free_port' })
}

/** @returns undefined when the port is taken or may not be used */
async function listen(port: number, host = '127.0.0.1'): Promise<Server | undefined> {
  const server = createServer()
  try {
    server.listen(port, host)
    await once(server, 'listening')
    return server
  } catch {
    return undefined
  }
}

/** True when the port can be listened on; also false when something answers on it by another address. */
export async function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  if (await answers(port, host)) return false
  const server = await listen(port, host)
  if (server === undefined) return false
  server.close()
  await once(server, 'close')
  return true
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
