/** The body of a proxied request: kept when it is small, so that it can be sent once more; streamed on when it is not. */
import { Readable } from 'node:stream'

export const KEPT_BYTES = 1024 * 1024

export type ProxyBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'kept'; readonly bytes: Buffer }
  | { readonly kind: 'streamed'; readonly stream: Readable }

/** @throws when the client goes away while it sends */
export async function readProxyBody(body: Readable | undefined): Promise<ProxyBody> {
  if (body === undefined) return { kind: 'none' }
  const rest: AsyncIterator<Buffer> = body[Symbol.asyncIterator]()
  const begun: Buffer[] = []
  let size = 0
  for (;;) {
    const next = await rest.next()
    if (next.done === true) return { kind: 'kept', bytes: Buffer.concat(begun) }
    begun.push(next.value)
    size += next.value.length
    if (size > KEPT_BYTES) return { kind: 'streamed', stream: Readable.from(whole(begun, rest)) }
  }
}

async function* whole(begun: Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  while (begun.length > 0) yield begun.shift() ?? Buffer.alloc(0)
  for (;;) {
    const next = await rest.next()
    if (next.done === true) return
    yield next.value
  }
}
