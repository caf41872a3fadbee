/**
 * The bundled receiver: stands for the consumer (n8n, a service of the platform) on this machine. It takes deliveries
 * at POST /hooks, checks their Standard Webhooks signature over the raw bytes, and shows what it got. It listens on
 * 127.0.0.1 only, keeps the last results in memory, and never executes or interprets a payload: the page shows text.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { receiverPage } from './receiver-page.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
const KEPT = 1_000

/** One POST to /hooks, as it was judged. */
export interface Receipt {
  readonly webhookId: string
  readonly verified: boolean
  /** Why it was not verified. */
  readonly reason: string | undefined
  readonly type: string | undefined
  readonly provider: string | undefined
  readonly receivedAt: string
  /** How many requests with this `webhook-id` have come, this one included. */
  readonly attempt: number
  readonly status: number
  readonly body: string
}

export interface ReceiverOptions {
  /** The secret of the destination: `whsec_…`. */
  readonly secret: string
  /** 0 or absent: a free one. */
  readonly port?: number
  /** How many results are kept, 1000 unless given. */
  readonly keep?: number
  /** What a verified delivery is answered with, 204 unless given; tests let it fail or stay away. */
  readonly answerStatus?: (delivery: { webhookId: string; attempt: number }) => number
}

export interface Receiver {
  readonly url: string
  /** Where deliveries go. */
  readonly hookUrl: string
  /** Oldest first. */
  received(): readonly Receipt[]
  close(): Promise<void>
}

/** Starts the receiver. Signature scheme: Standard Webhooks 1.0, "Verifying signatures". */
export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const webhook = new Webhook(options.secret)
  const receipts: Receipt[] = []
  const attempts = new Map<string, number>()
  const keep = options.keep ?? KEPT

  const record = (receipt: Receipt) => {
    receipts.push(receipt)
    if (receipts.length > keep) receipts.shift()
  }
  const countAttempt = (webhookId: string) => {
    const attempt = (attempts.get(webhookId) ?? 0) + 1
    attempts.set(webhookId, attempt)
    const oldest = attempts.keys().next()
    if (attempts.size > keep && oldest.done !== true) attempts.delete(oldest.value)
    return attempt
  }

  const takeDelivery = (headers: IncomingMessage['headers'], body: Buffer): number => {
    const webhookId = headerOf(headers, 'webhook-id').slice(0, 256)
    const attempt = countAttempt(webhookId)
    const reason = judge(webhook, headers, body)
    const status = reason === undefined ? (options.answerStatus?.({ webhookId, attempt }) ?? 204) : 400
    const event = describe(body)
    record({
      webhookId,
      verified: reason === undefined,
      reason,
      type: event.type,
      provider: event.provider,
      receivedAt: new Date().toISOString(),
      attempt,
      status,
      body: body.toString('utf8'),
    })
    return status
  }

  const server = createServer((request, response) => {
    respond(request, response).catch(() => response.destroy())
  })
  server.headersTimeout = 5_000
  server.requestTimeout = 15_000

  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    if (!hosts.has(request.headers.host ?? '')) return answer(response, 421)
    const path = request.url?.split('?')[0]
    if (path === '/hooks') {
      if (request.method !== 'POST') return answer(response, 405, { allow: 'POST' })
      const body = await readBody(request)
      if (body === undefined) return answer(response, 413, { connection: 'close' })
      return answer(response, takeDelivery(request.headers, body))
    }
    if (path !== '/' && path !== '/received') return answer(response, 404)
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return answer(response, 405, { allow: 'GET, HEAD' })
    if (path === '/received') return answer(response, 200, json, JSON.stringify(receipts))
    const nonce = randomBytes(16).toString('base64')
    return answer(response, 200, pageHeaders(nonce), receiverPage(receipts, nonce))
  }

  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  // A page of the Internet whose name has been pointed at 127.0.0.1 must not read what was delivered.
  const hosts = new Set([`127.0.0.1:${port}`, `localhost:${port}`])

  return {
    url: `http://127.0.0.1:${port}/`,
    hookUrl: `http://127.0.0.1:${port}/hooks`,
    received: () => receipts,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const json = { 'content-type': 'application/json; charset=utf-8' }

function pageHeaders(nonce: string): Record<string, string> {
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'referrer-policy': 'no-referrer',
  }
}

function answer(response: ServerResponse, status: number, headers: Record<string, string> = {}, body = '') {
  response.writeHead(status, { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', ...headers })
  response.end(body)
}

/** The reason why it is not genuine, or undefined when it is. */
function judge(webhook: Webhook, headers: IncomingMessage['headers'], body: Buffer): string | undefined {
  try {
    webhook.verify(
      body,
      {
        'webhook-id': headerOf(headers, 'webhook-id'),
        'webhook-timestamp': headerOf(headers, 'webhook-timestamp'),
        'webhook-signature': headerOf(headers, 'webhook-signature'),
      },
      { jsonParse: false },
    )
    return undefined
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.message
    throw error
  }
}

function headerOf(headers: IncomingMessage['headers'], name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value : ''
}

/** @returns undefined when the body is larger than the limit */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > BODY_LIMIT_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What a CloudEvent says of itself (CloudEvents 1.0.2, JSON format §2); `provider` is an extension of ours. */
function describe(body: Buffer): { type: string | undefined; provider: string | undefined } {
  try {
    const event: unknown = JSON.parse(body.toString('utf8'))
    const isObject = typeof event === 'object' && event !== null
    const type = isObject && 'type' in event && typeof event.type === 'string' ? event.type : undefined
    const provider =
      isObject && 'provider' in event && typeof event.provider === 'string' ? event.provider : undefined
    return { type, provider }
  } catch {
    return { type: undefined, provider: undefined }
  }
}
