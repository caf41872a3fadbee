/**
 * A receiver as bare as it can be, in a process of its own: reads a request away, answers 204, counts. `GET /count`
 * says how many. Between `/timed` and `/untimed` it notes how long after its recording each event arrived; `/latencies`
 * tells them and forgets them.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

let count = 0
let latencies: number[] = []
let timed = false

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    if (request.url === '/timed') timed = true
    if (request.url === '/untimed') timed = false
    const body = request.url === '/latencies' ? latencies : { count }
    if (request.url === '/latencies') latencies = []
    response.end(JSON.stringify(body))
    return
  }
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => {
    if (timed) chunks.push(chunk)
  })
  request.on('end', () => {
    count += 1
    if (timed) {
      const { recordedtime } = JSON.parse(Buffer.concat(chunks).toString()) as { recordedtime: string }
      latencies.push(Date.now() - Date.parse(recordedtime))
    }
    response.writeHead(204).end()
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`)
})
