/**
 * HTTP from the other side: `ask` sends a request with every header as given (an array is a repeated header), `raw` sends
 * bytes that no client would. Both wait for one answer and never hide how long it took.
 */
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

export interface Question {
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
  /** Sends the body in chunks, without a Content-Length. */
  readonly chunked?: boolean
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
  readonly ms: number
}

/**
 * A server that refuses a large body may close while it is still being sent; then the answer can be lost on this side of
 * the connection, and the question is asked again, at most twice.
 */
export async function ask(port: number, question: Question): Promise<Answer> {
  for (let repetitions = Buffer.byteLength(question.body ?? '') > 100_000 ? 2 : 0; ; repetitions -= 1) {
    try {
      return await askOnce(port, question)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (repetitions === 0 || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error
    }
  }
}

function askOnce(port: number, question: Question): Promise<Answer> {
  const { method = 'GET', path, headers = {}, body, chunked = false } = question
  const began = performance.now()
  return new Promise((resolve, reject) => {
    let answered = false
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        agent: false,
        timeout: 20_000,
        headers: {
          ...Object.fromEntries(
            Object.entries(headers).map(([k, v]) => [k, typeof v === 'string' ? v : [...v]]),
          ),
          ...(body !== undefined && !chunked ? { 'content-length': String(Buffer.byteLength(body)) } : {}),
        },
      },
      (incoming) => {
        answered = true
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () => {
          const all = Buffer.concat(chunks)
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: all,
            text: all.toString('utf8'),
            ms: performance.now() - began,
          })
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 20 s')))
    // once there is an answer, a server may close on a body that it does not want
    outgoing.on('error', (error) => answered || reject(error))
    if (body !== undefined && chunked) outgoing.write(body)
    outgoing.end(body !== undefined && !chunked ? body : undefined)
  })
}

export const json = (answer: Answer): unknown => JSON.parse(answer.text)

/** A JSON request to the internal port. */
export function askJson(
  port: number,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: unknown,
): Promise<Answer> {
  return ask(port, {
    method,
    path,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

export interface RawAnswer {
  /** 0 when the connection was closed without an answer. */
  readonly status: number
  readonly text: string
  readonly closed: boolean
  readonly ms: number
}

/** Sends bytes as they are and reads until the other side closes, or has been silent for `quietMs` after its answer. */
export function raw(
  port: number,
  bytes: string | Buffer,
  { quietMs = 300, patienceMs = 15_000 }: { quietMs?: number; patienceMs?: number } = {},
): Promise<RawAnswer> {
  const began = performance.now()
  return new Promise((resolve) => {
    let text = ''
    let quiet: NodeJS.Timeout | undefined
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    const done = (closed: boolean) => {
      clearTimeout(quiet)
      clearTimeout(late)
      socket.destroy()
      resolve({
        status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
        text,
        closed,
        ms: performance.now() - began,
      })
    }
    const late = setTimeout(done, patienceMs, false)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      clearTimeout(quiet)
      quiet = setTimeout(done, quietMs, false)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => done(true))
  })
}
