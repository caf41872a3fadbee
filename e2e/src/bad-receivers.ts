/**
 * F8 to F12, F26: receivers that misbehave, all at once, beside one that is well. Each event goes to all of them. What
 * must hold: in the end every receiver has taken every acknowledged event, under one webhook-id, signed; the one that is
 * down is hardly asked; who says when to come again is not asked before; who is gone is not asked at all; who is slow is
 * cut off; n8n, which is started anew, refuses connections first and knows no workflow after that.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'

export const KINDS = ['well', 'down', 'flaky', 'throttled', 'slow', 'gone', 'n8n'] as const
export type Kind = (typeof KINDS)[number]

export interface Asked {
  readonly kind: Kind
  readonly webhookId: string
  readonly at: number
  readonly latencyMs: number
  readonly verified: boolean
  /** undefined: no answer, or none to its end. */
  readonly status: number | undefined
}

export interface BadReceivers {
  readonly port: number
  readonly asked: readonly Asked[]
  /** The secret of a destination; before it is known nothing is verified. */
  knows(kind: Kind, secret: string): void
  /** From now on all but the first misbehave. */
  misbehave(): void
  recover(): void
  close(): Promise<void>
}

export const RETRY_AFTER_SECONDS = 3
/** So long n8n is down, less than its breaker needs to open; then it listens, and its workflows are not active yet. */
const RESTART_MS = 1_200
const JSON_TYPE = { 'content-type': 'application/json' }
/** What n8n says of a path that no active workflow has. */
const NOT_REGISTERED = JSON.stringify({
  code: 404,
  message: 'The requested webhook "POST hook" is not registered.',
  hint: 'The workflow must be active for a production URL to run successfully.',
})

export async function openBadReceivers(): Promise<BadReceivers> {
  const asked: Asked[] = []
  const verifiers = new Map<Kind, Webhook>()
  const open = new Set<ServerResponse>()
  let bad = false
  let badSince = 0
  let flips = 0

  /** @returns the status that was said, if one was */
  function answer(kind: Kind, request: IncomingMessage, response: ServerResponse): number | undefined {
    const say = (status: number, headers: Record<string, string> = {}, body?: string) => {
      response.writeHead(status, headers).end(body)
      return status
    }
    if (!bad && kind === 'n8n') return say(200, JSON_TYPE, '{"message":"Workflow was started"}')
    if (!bad || kind === 'well') return say(204)
    switch (kind) {
      case 'down':
        request.socket.destroy()
        return undefined
      case 'flaky':
        flips += 1
        if (flips % 2 === 0) return say(204)
        if (flips % 4 === 1) return say(500)
        // breaks off within the status line
        request.socket.write('HTTP/1.1 20')
        request.socket.destroy()
        return undefined
      case 'throttled':
        return say(429, { 'retry-after': String(RETRY_AFTER_SECONDS) })
      case 'slow':
        open.add(response)
        response.on('close', () => open.delete(response))
        return undefined
      case 'gone':
        return say(410)
      case 'n8n':
        if (Date.now() - badSince >= RESTART_MS) return say(404, JSON_TYPE, NOT_REGISTERED)
        request.socket.destroy()
        return undefined
    }
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const kind = KINDS[Number(request.url?.split('/').at(-1))] ?? 'well'
      const body = Buffer.concat(chunks).toString()
      const at = Date.now()
      const { recordedtime } = JSON.parse(body) as { recordedtime: string }
      asked.push({
        kind,
        webhookId: String(request.headers['webhook-id']),
        at,
        latencyMs: at - Date.parse(recordedtime),
        verified: isGenuine(verifiers.get(kind), body, request),
        status: answer(kind, request, response),
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    knows: (kind, secret) => verifiers.set(kind, new Webhook(secret)),
    misbehave: () => {
      bad = true
      badSince = Date.now()
    },
    recover: () => {
      bad = false
      for (const response of open) response.destroy()
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function isGenuine(verifier: Webhook | undefined, body: string, request: IncomingMessage): boolean {
  try {
    verifier?.verify(body, request.headers as Record<string, string>)
    return verifier !== undefined
  } catch {
    return false
  }
}
