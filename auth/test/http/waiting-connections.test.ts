/** The door: a thousand senders that connect at the same moment are all heard, also while the process is busy. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'

const SENDERS = 1_000
const LISTENING = new URL('../../src/http/listening.ts', import.meta.url).href

/** A server whose thread does nothing after it has begun to listen: what is heard is heard by the kernel alone. */
const BUSY = `
  const { createServer } = await import('node:http')
  const { parentPort } = await import('node:worker_threads')
  const { listen, portOf } = await import(${JSON.stringify(LISTENING)})
  const server = createServer()
  await listen(server, '127.0.0.1', 0)
  parentPort.postMessage(portOf(server))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`

/** What the kernel lets wait, whatever is asked of it. */
function allowedByKernel(): number {
  const file = '/proc/sys/net/core/somaxconn'
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 128
}

test('a thousand senders that connect at once are all heard while the process is busy', async () => {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(BUSY)}`))
  const sockets: Socket[] = []
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await worker.terminate()
  })
  const [port] = (await once(worker, 'message')) as [number]
  const heard = Math.min(SENDERS, allowedByKernel())
  for (let n = 0; n < heard; n += 1) sockets.push(connect(port, '127.0.0.1'))
  // who is not heard tries again for minutes: this would end in the test's own timeout
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  expect(sockets.filter((socket) => socket.readyState === 'open')).toHaveLength(heard)
})
