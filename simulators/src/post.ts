/**
 * One outbound POST with a deadline, exactly the given headers, no redirects, over a connection of its own.
 * To loopback only: a simulator never speaks to the world. It never throws for what the other side does.
 */
import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isLoopbackUrl } from './options.ts'

const largestAnswer = 64 * 1024

export interface PostRequest {
  url: string
  headers: OutgoingHttpHeaders
  body: string
  timeoutMs: number
  signal?: AbortSignal | undefined
}

export type PostResult =
  | { kind: 'answered'; status: number; contentType: string; body: string; latencyMs: number }
  | {
      kind: 'failed'
      reason: 'timeout' | 'network' | 'too_large' | 'not_loopback' | 'closed'
      latencyMs: number
    }

export function post(request: PostRequest): Promise<PostResult> {
  const began = performance.now()
  const elapsed = () => Math.round((performance.now() - began) * 10) / 10
  if (!isLoopbackUrl(request.url)) {
    return Promise.resolve({ kind: 'failed', reason: 'not_loopback', latencyMs: 0 })
  }
  return new Promise((resolve) => {
    const send = request.url.startsWith('https:') ? httpsRequest : httpRequest
    const outgoing = send(request.url, {
      method: 'POST',
      agent: false,
      headers: { ...request.headers, 'content-length': Buffer.byteLength(request.body), connection: 'close' },
    })
    let settled = false
    const settle = (result: PostResult) => {
      if (settled) return
      settled = true
      clearTimeout(deadline)
      request.signal?.removeEventListener('abort', stop)
      outgoing.destroy()
      resolve(result)
    }
    const fail = (reason: 'timeout' | 'network' | 'too_large' | 'closed') =>
      settle({ kind: 'failed', reason, latencyMs: elapsed() })
    const stop = () => fail('closed')
    const deadline = setTimeout(() => fail('timeout'), request.timeoutMs)
    request.signal?.addEventListener('abort', stop)
    if (request.signal?.aborted) stop()
    outgoing.on('error', () => fail('network'))
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > largestAnswer) return fail('too_large')
        chunks.push(chunk)
      })
      response.on('error', () => fail('network'))
      response.on('aborted', () => fail('network'))
      response.on('end', () =>
        settle({
          kind: 'answered',
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body: Buffer.concat(chunks).toString('utf8'),
          latencyMs: elapsed(),
        }),
      )
    })
    outgoing.end(request.body)
  })
}
