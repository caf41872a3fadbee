/**
 * The receiver of a backlog on a thread of its own: it would otherwise stand in the way of the sender whose answers are
 * timed. Reads a request away, answers 204, and counts by the number that its path ends with.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

export interface BacklogReceiver {
  readonly port: number
  /** Deliveries so far, by destination. */
  counts(): readonly number[]
  close(): Promise<void>
}

/** @param destinations paths end with 0 to one less than this */
export async function openBacklogReceiver(destinations: number): Promise<BacklogReceiver> {
  const counts = new Int32Array(new SharedArrayBuffer(4 * destinations))
  const worker = new Worker(new URL(import.meta.url), { workerData: counts })
  const [port] = (await once(worker, 'message')) as [number]
  return {
    port,
    counts: () => [...counts],
    close: async () => void (await worker.terminate()),
  }
}

function receive(counts: Int32Array): void {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      Atomics.add(counts, Number(request.url?.split('/').at(-1)), 1)
      response.writeHead(204).end()
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => parentPort?.postMessage((server.address() as AddressInfo).port))
}

if (!isMainThread && workerData instanceof Int32Array) receive(workerData)
