/** What no HTTP client sends, at both ports of a real process: cut or refused, memory flat, the process lives. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestDatabase, testDatabase } from '../database.ts'
import { type AuthProcess, environmentOf, startAuth } from '../world.ts'
import { ask, raw } from './wire.ts'

let database: TestDatabase
let environment: Record<string, string>
let auth: AuthProcess

beforeAll(async () => {
  database = await testDatabase()
  environment = environmentOf(database.url)
  auth = await startAuth(environment)
})
afterAll(async () => {
  await auth.stop()
  await database.close()
})

const ports = () => [auth.publicPort, auth.internalPort]
const isAlive = async () =>
  (await ask(auth.publicPort, { path: '/webhook/health' })).status === 200 &&
  (await ask(auth.internalPort, { path: '/ready' })).status === 200

describe('abuse of the wire', () => {
  const head = 'POST /webhook/events/microsoft HTTP/1.1\r\nHost: a\r\n'
  const malformed: [string, string, number][] = [
    [
      'Transfer-Encoding and Content-Length',
      `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'Content-Length and Transfer-Encoding',
      `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['two Content-Lengths', `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400],
    ['a Content-Length that is no number', `${head}Content-Length: 1x\r\n\r\na`, 400],
    ['a negative Content-Length', `${head}Content-Length: -1\r\n\r\na`, 400],
    ['a Transfer-Encoding that is not chunked', `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 400],
    ['a chunk size that is no number', `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n`, 400],
    ['no Host', 'GET /webhook/health HTTP/1.1\r\n\r\n', 400],
    ['a header folded over two lines', 'GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\nX-B : d\r\n\r\n', 400],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost: a\r\nX-Service-Token : x\r\n\r\n', 400],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX-A: \0\r\n\r\n', 400],
    ['a NUL in the path', 'GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a method that is none', 'CANARY / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['bytes that are no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary\r\n\r\n', 400],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    [
      'a header of 64 KB',
      `GET /webhook/health HTTP/1.1\r\nHost: a\r\nX-A: ${'x'.repeat(64_000)}\r\n\r\n`,
      431,
    ],
    [
      'a flood of headers',
      `GET /webhook/health HTTP/1.1\r\nHost: a\r\n${'X-Canary: y\r\n'.repeat(8_000)}\r\n`,
      431,
    ],
  ]
  test.each(malformed)('WI-11 %s: refused and closed, without an echo', async (_, bytes, status) => {
    for (const port of ports()) {
      const answer = await raw(port, bytes)
      // the internal port answers that this path is not there before it reads on
      expect(port === auth.internalPort ? [status, 404] : [status]).toContain(answer.status)
      expect(answer.closed).toBe(true)
      expect(answer.text).not.toMatch(/canary|node_modules|\.ts\b/i)
    }
    expect(await isAlive()).toBe(true)
  })

  test('invalid UTF-8 in a path or a query is a path that is not there', async () => {
    for (const target of [
      '/\xff\xfe',
      '/webhook/health/\xc3\x28',
      '/webhook/oauth/google/callback?state=\xff&code=b',
    ])
      for (const port of ports()) {
        const answer = await raw(
          port,
          Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 'latin1'),
        )
        expect([400, 404]).toContain(answer.status)
      }
  })

  test('a path of 40 KB: 414, or 431 where no path is that long', async () => {
    const target = `/internal/events/${'x'.repeat(40_000)}`
    expect((await ask(auth.publicPort, { path: target })).status).toBe(414)
    expect((await ask(auth.internalPort, { path: target })).status).toBe(431)
  })

  test('WI-08 a body that is told to be too large is refused before a byte of it has come', async () => {
    const told = `Host: a\r\nContent-Type: application/json\r\nX-Service-Token: ${environment.SERVICE_SECRET}\r\nContent-Length: 2000000000\r\n\r\n`
    for (const [port, path] of [
      [auth.publicPort, '/webhook/events/microsoft'],
      [auth.publicPort, '/webhook/oauth/microsoft/callback'],
      [auth.internalPort, '/internal/sessions'],
    ] as const) {
      const answer = await raw(port, `POST ${path} HTTP/1.1\r\n${told}`)
      expect([path, answer.status]).toEqual([path, 413])
      expect(answer.ms).toBeLessThan(2_000)
    }
  })

  test('WI-08 endless bodies are refused and cut, and the memory stays flat', async () => {
    const service = environment.SERVICE_SECRET ?? ''
    const targets: [number, string, number][] = [
      [auth.publicPort, '/webhook/events/microsoft', 413],
      [auth.publicPort, '/webhook/oauth/microsoft/callback', 413],
      [auth.publicPort, '/webhook/health', 405],
      [auth.publicPort, '/nothing', 404],
      [auth.internalPort, '/internal/sessions', 413],
      [auth.internalPort, '/nothing', 413],
      [auth.internalPort, '/internal/connections', 413],
    ]
    const start = (path: string, token = service) =>
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Service-Token: ${token}\r\n`
    const round = async () => {
      for (const [port, path, status] of targets) {
        const cut = await flood(port, start(path))
        // 0: it was cut while this side was still writing, and the answer went with the connection
        expect([
          [port, path, status],
          [port, path, 0],
        ]).toContainEqual([port, path, cut.status])
        expect(cut.closed).toBe(true)
        expect(cut.ms).toBeLessThan(11_000)
      }
    }
    // until the heap has grown to what the collector lets it have
    for (let i = 0; i < 5; i += 1) await round()
    const before = await auth.measure()
    for (let i = 0; i < 10; i += 1) await round()
    const stranger = await flood(auth.internalPort, start('/internal/sessions', 'guess'))
    expect([401, 0]).toContain(stranger.status)
    expect(stranger.closed).toBe(true)
    expect(stranger.ms).toBeLessThan(5_000)
    expect((await auth.measure()).rssBytes - before.rssBytes).toBeLessThan(20 * 1024 * 1024)
    expect(await isAlive()).toBe(true)
  }, 120_000)

  test('WI-07 20 sockets that send their headers or their body slowly, half of them deaf to the end, are cut within 11 s; others are served meanwhile', async () => {
    const slow = Array.from({ length: 20 }, (_, i) =>
      drip(
        auth.publicPort,
        i % 2 === 0
          ? 'POST /webhook/events/microsoft HTTP/1.1\r\nHost: a\r\nX-Slow: '
          : 'POST /webhook/events/microsoft HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n',
        i >= 10,
      ),
    )
    const served: number[] = []
    const watch = setInterval(
      () =>
        void ask(auth.publicPort, { path: '/webhook/health' }).then(
          ({ ms }) => served.push(ms),
          () => served.push(Infinity),
        ),
      500,
    )
    const cutAfter = await Promise.all(slow)
    clearInterval(watch)
    expect(Math.max(...cutAfter)).toBeLessThan(11_500)
    expect(Math.min(...cutAfter)).toBeGreaterThan(1_000)
    expect(served.length).toBeGreaterThan(5)
    expect(Math.max(...served)).toBeLessThan(1_000)
    expect(await isAlive()).toBe(true)
  }, 30_000)
})

interface Cut {
  readonly status: number
  readonly closed: boolean
  readonly ms: number
}

/** Sends chunks of 64 KiB until the other side closes, at most for 15 s. */
function flood(port: number, start: string): Promise<Cut> {
  const began = performance.now()
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  return new Promise((resolve) => {
    let text = ''
    let closed = false
    const socket = connect(port, '127.0.0.1')
    const late = setTimeout(() => socket.destroy(), 15_000)
    // one chunk after the other, so that an answer is read as soon as it is there
    const pump = () => socket.write(chunk, (error) => !error && setImmediate(pump))
    socket.on('connect', () => {
      socket.write(`${start}Transfer-Encoding: chunked\r\n\r\n`)
      pump()
    })
    socket.on('data', (data) => {
      text += data.toString('latin1')
    })
    socket.on('end', () => {
      closed = true
    })
    socket.on('error', () => {
      closed = true
    })
    socket.on('close', () => {
      clearTimeout(late)
      resolve({
        status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
        closed,
        ms: performance.now() - began,
      })
    })
  })
}

/**
 * One byte every 300 ms.
 * @param isDeaf goes on after the other side has ended: only a connection that is not there any more stops it
 * @returns after how many milliseconds the other side closed
 */
function drip(port: number, start: string, isDeaf: boolean): Promise<number> {
  const began = performance.now()
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: isDeaf }, () => socket.write(start))
    const timer = setInterval(() => socket.writable && socket.write('x'), 300)
    const late = setTimeout(() => socket.destroy(), 20_000)
    socket.on('error', () => undefined)
    socket.resume()
    socket.on('close', () => {
      clearInterval(timer)
      clearTimeout(late)
      resolve(performance.now() - began)
    })
  })
}
