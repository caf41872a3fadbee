/** The client for services, before a server that answers as the test says. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ConnectError, type ServiceClient, serviceClient } from '../src/index.ts'

let server: Server
let baseUrl: string
let client: ServiceClient
let seen: { line: string; token: string; body: string }[] = []
let answers: { status: number; body: unknown }[] = []

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      seen.push({
        line: `${request.method} ${request.url}`,
        token: String(request.headers['x-service-token']),
        body,
      })
      const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? { status: 200, body: {} }
      response
        .writeHead(answer.status, { 'content-type': 'application/json' })
        .end(JSON.stringify(answer.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  client = serviceClient({ baseUrl, serviceToken: 'fcs_token' })
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})
beforeEach(() => {
  seen = []
  answers = []
})

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe('tokens and connections', () => {
  test('each method asks the route of the table, with the credential', async () => {
    answers = [{ status: 200, body: { items: [] } }]
    await client.token('con_a', { minValidSeconds: 300, purpose: 'a report' })
    await client.token('con_a')
    await client.tokenOf({ userId: '7', provider: 'acme' }, { minValidSeconds: 5 })
    expect(await client.connections()).toEqual([])
    expect(seen.map(({ line, body }) => [line, body])).toEqual([
      ['POST /internal/connections/con_a/token', '{"min_valid_seconds":300,"purpose":"a report"}'],
      ['POST /internal/connections/con_a/token', '{}'],
      ['GET /internal/oauth/token?user_id=7&provider=acme&min_valid_seconds=5', ''],
      ['GET /internal/connections', ''],
    ])
    expect(new Set(seen.map(({ token }) => token))).toEqual(new Set(['fcs_token']))
  })

  test('several connections of a user: 409 with their ids, never a guess', async () => {
    const body = { error: 'several_connections', message: 'Ask by id.', connection_ids: ['con_a', 'con_b'] }
    answers = [{ status: 409, body }]
    const error = await failure(client.tokenOf({ userId: '7', provider: 'acme' }))
    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({
      status: 409,
      error: 'several_connections',
      connectionIds: ['con_a', 'con_b'],
    })
  })

  test('an id that cannot be one is 404 without a request', async () => {
    expect(await failure(client.token('../oauth'))).toMatchObject({ status: 404 })
    expect(seen).toEqual([])
  })

  test('fetch can be replaced', async () => {
    const asked: string[] = []
    const own = serviceClient({
      baseUrl: 'https://auth.test',
      serviceToken: 's',
      fetch: async (url) => {
        asked.push(String(url))
        return Response.json({ items: [] })
      },
    })
    await own.connections()
    expect(asked).toEqual(['https://auth.test/internal/connections'])
  })
})

describe('watching', () => {
  const page = (head: string, ids: string[], next?: string) => ({
    status: 200,
    body: {
      items: ids.map((id) => ({ id, type: 'x.connection.v1.created', connection_id: 'con_a' })),
      head_cursor: head,
      ...(next === undefined ? {} : { next_cursor: next }),
    },
  })
  const take = async (count: number, after?: string) => {
    const stop = new AbortController()
    const changes: [string, string][] = []
    const options = { signal: stop.signal, pollMs: 1, ...(after === undefined ? {} : { after }) }
    for await (const { event, resume } of client.watchConnections(options)) {
      changes.push([event.id, resume])
      if (changes.length === count) stop.abort()
    }
    return changes
  }

  test('goes on from a cursor, oldest first over all pages, and drops what comes twice', async () => {
    answers = [
      page('h1', ['e3', 'e2'], 'c1'),
      page('x', ['e1']),
      page('h2', ['e4', 'e3']),
      page('h3', ['e5', 'e4']),
    ]
    expect(await take(5, 'h0')).toEqual([
      ['e1', 'h0'],
      ['e2', 'h0'],
      ['e3', 'h0'],
      ['e4', 'h1'],
      ['e5', 'h2'],
    ])
    const type = 'type=connection.v1.*&limit=100'
    expect(seen.slice(0, 4).map(({ line }) => line)).toEqual([
      `GET /internal/events?${type}&after=h0`,
      `GET /internal/events?${type}&after=h0&cursor=c1`,
      `GET /internal/events?${type}&after=h1`,
      `GET /internal/events?${type}&after=h2`,
    ])
  })

  test('without a cursor it begins now: what was before is not told', async () => {
    answers = [page('h0', ['e1']), page('h1', ['e2', 'e1']), page('h2', ['e3', 'e2'])]
    expect((await take(1)).map(([id]) => id)).toEqual(['e3'])
  })

  test('a service that is away is asked again', async () => {
    const away = { status: 503, body: { error: 'database_unavailable', message: 'Later.' } }
    answers = [away, away, page('h1', ['e1'])]
    expect((await take(1, 'h0')).map(([id]) => id)).toEqual(['e1'])
    expect(seen).toHaveLength(3)
  })

  test('a refused credential ends the watch', async () => {
    answers = [{ status: 403, body: { error: 'permission_required', message: 'No.' } }]
    expect(await failure(take(1, 'h0'))).toMatchObject({ status: 403 })
    expect(seen).toHaveLength(1)
  })

  test('a signal that has aborted ends it at once, without an error', async () => {
    answers = [page('h1', [])]
    const changes = client.watchConnections({ signal: AbortSignal.timeout(20), pollMs: 60_000 })
    expect((await changes.next()).done).toBe(true)
    const none = client.watchConnections({ signal: AbortSignal.abort() })
    expect((await none.next()).done).toBe(true)
  })
})
