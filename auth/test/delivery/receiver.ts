/** A real HTTP receiver on 127.0.0.1 for these tests: keeps what it gets and counts connections. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface ReceivedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Receiver {
  readonly port: number
  readonly url: string
  readonly requests: ReceivedRequest[]
  readonly sockets: Set<Socket>
  /** Ever opened. */
  connections: number
  answer: (request: IncomingMessage, response: ServerResponse) => void
  close(): Promise<void>
}

export async function startReceiver(answer?: Receiver['answer']): Promise<Receiver> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      receiver.requests.push({
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks),
      })
      receiver.answer(request, response)
    })
  })
  server.on('connection', (socket) => {
    receiver.connections += 1
    receiver.sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => receiver.sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const receiver: Receiver = {
    port,
    url: `http://127.0.0.1:${port}/hook`,
    requests: [],
    sockets: new Set(),
    connections: 0,
    answer: answer ?? ((_request, response) => response.writeHead(204).end()),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return receiver
}
