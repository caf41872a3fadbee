/**
 * Reads a request body as bytes, within a limit. It counts while it streams, so a lying or missing Content-Length
 * changes nothing, and holds at most the limit in memory. Never decompresses: a compressed body is refused.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

export type BodyRead =
  | { readonly kind: 'read'; readonly body: Buffer }
  | { readonly kind: 'refused'; readonly status: 413 | 415 | 503 }
  /** The client went away. */
  | { readonly kind: 'gone' }

const EMPTY = Buffer.alloc(0)

/** Bytes of bodies that are held at once, over all requests: what is not there is refused with 503. */
export interface BodyBudget {
  take(bytes: number): boolean
  giveBack(bytes: number): void
}

export function openBodyBudget(limitBytes: number): BodyBudget {
  let held = 0
  return {
    take(bytes) {
      if (held + bytes > limitBytes) return false
      held += bytes
      return true
    },
    giveBack(bytes) {
      held -= bytes
    },
  }
}

/**
 * @param budget what was taken is given back when the response is closed, since a body is held until it is answered
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limitBytes: number,
  budget: BodyBudget,
): Promise<BodyRead> {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity')
    return Promise.resolve({ kind: 'refused', status: 415 })
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > limitBytes) return Promise.resolve({ kind: 'refused', status: 413 })
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let length = 0
    let taken = 0
    response.once('close', () => {
      budget.giveBack(taken)
      taken = 0
    })
    const stop = (read: BodyRead) => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
      resolve(read)
    }
    const onData = (chunk: Buffer) => {
      length += chunk.length
      if (length > limitBytes) {
        request.pause()
        stop({ kind: 'refused', status: 413 })
      } else if (!budget.take(chunk.length)) {
        request.pause()
        stop({ kind: 'refused', status: 503 })
      } else {
        taken += chunk.length
        chunks.push(chunk)
      }
    }
    const onEnd = () =>
      stop({
        kind: 'read',
        body:
          chunks.length === 0
            ? EMPTY
            : chunks.length === 1 && chunks[0] !== undefined
              ? chunks[0]
              : Buffer.concat(chunks, length),
      })
    const onGone = () => stop({ kind: 'gone' })
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}
