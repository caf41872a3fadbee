/**
 * Reads a request body as bytes, within a limit. It counts while it streams, so a lying or missing Content-Length
 * changes nothing, and holds at most the limit in memory, however small the pieces. Never decompresses: a compressed body is refused.
 */
import type { IncomingMessage } from 'node:http'

export type BodyRead =
  | { readonly kind: 'read'; readonly body: Buffer }
  | { readonly kind: 'refused'; readonly status: 413 | 415 | 503 }
  /** The client went away. */
  | { readonly kind: 'gone' }

const EMPTY = Buffer.alloc(0)

/** What a piece costs beside its bytes: an object of its own. */
const PIECE_BYTES = 256
/** The network brings a kilobyte or more at once; who sends letter by letter wants to cost us more than himself. */
export const MOST_PIECES = 8_192

/** @param hold says whether there is room for so many bytes more; they are held until the request has been answered */
export function readBody(
  request: IncomingMessage,
  limitBytes: number,
  hold: (bytes: number) => boolean,
): Promise<BodyRead> {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity')
    return Promise.resolve({ kind: 'refused', status: 415 })
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > limitBytes) return Promise.resolve({ kind: 'refused', status: 413 })
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let length = 0
    const stop = (read: BodyRead) => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
      resolve(read)
    }
    const onData = (chunk: Buffer) => {
      length += chunk.length
      if (length > limitBytes || chunks.length === MOST_PIECES) {
        request.pause()
        stop({ kind: 'refused', status: 413 })
      } else if (!hold(chunk.length + PIECE_BYTES)) {
        request.pause()
        stop({ kind: 'refused', status: 503 })
      } else {
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
