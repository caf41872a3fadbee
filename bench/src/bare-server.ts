/**
 * The ceiling: a bare Node.js server that reads the body, checks an HMAC over it, and answers. No storage, no parsing.
 * A process of its own; prints its port.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const SECRET = 'bench'

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const mac = createHmac('sha256', SECRET).update(Buffer.concat(chunks)).digest()
    const given = Buffer.from(String(request.headers['x-signature'] ?? ''), 'hex')
    // The generator sends one fixed signature: the check is computed and compared, its outcome does not matter here.
    const same = given.length === mac.length && timingSafeEqual(mac, given)
    response.writeHead(202, { 'content-length': 0, 'x-genuine': String(same) })
    response.end()
  })
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`)
})
process.on('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
})
