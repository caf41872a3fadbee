/** The proxy over HTTP, before a provider that keeps what arrives. */
import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createCaller } from '../../src/callers/callers.ts'
import { sql } from '../../src/db/sql.ts'
import { until } from '../http/people.ts'
import { ask, json, type Question, raw } from '../http/wire.ts'
import { openWorld, type World } from '../world.ts'
import { HOSTILE } from './hostile-paths.ts'
import { openUpstream, seedToken, type Upstream } from './upstream.ts'

let upstream: Upstream
let world: World
let id: string
let other: string
let headers: Record<string, string>

beforeAll(async () => {
  upstream = await openUpstream()
  world = await openWorld({
    environment: {
      GOOGLE_TOKEN_URL: upstream.origin,
      GOOGLE_API_URL: upstream.origin,
      GMAIL_API_URL: upstream.origin,
    },
  })
  other = await seedToken(world)
})
afterAll(async () => {
  await world.close()
  await upstream.close()
})
beforeEach(async () => {
  upstream.reset()
  id = await seedToken(world)
  const made = await createCaller(
    { db: world.db },
    {
      name: id.replace('_', '-'),
      permissions: ['proxy'],
      scope: { kind: 'limited', providers: [], users: [], connections: [id] },
    },
    'test',
  )
  headers = { 'x-service-token': made.kind === 'created' ? made.token : '' }
})

const call = (path: string, question: Partial<Question> = {}) =>
  ask(world.internalPort, {
    ...question,
    path: `/internal/connections/${id}/proxy/${path}`,
    headers: { ...headers, ...question.headers },
  })
const problemOf = (text: string) => (JSON.parse(text) as { error: string }).error
const auditOf = (connection = id) =>
  world.db.rows<{ actor: string; detail: Record<string, unknown> }>(sql`
    select actor, detail from auth.audit where subject = ${connection} and action = 'proxy.called' order by id`)

describe('where a call goes', () => {
  test.each([
    ['gmail/users/me/profile?fields=a%2Fb&x=1', '/gmail/v1/users/me/profile?fields=a%2Fb&x=1'],
    ['drive/files/x:y', '/drive/v3/files/x:y'],
    ['calendar/calendars/a%40b.test/events', '/calendar/v3/calendars/a%40b.test/events'],
    ["drive/files?q=name%20%3D%20'a%5Cb%0A'", '/drive/v3/files?q=name%20%3D%20%27a%5Cb%0A%27'],
    ['gmail/', '/gmail/v1/'],
    ['gmail', '/gmail/v1/'],
  ])('T38 %s is asked below the base of its API, with the connection’s token', async (path, url) => {
    expect((await call(path)).status).toBe(200)
    expect(upstream.arrived.map((one) => [one.url, one.headers.authorization])).toEqual([
      [url, 'Bearer access-1'],
    ])
  })

  test('T38 every hostile path is 400, and nothing is sent', async () => {
    for (const path of HOSTILE) {
      const bytes = [
        `GET /internal/connections/${id}/proxy/${path} HTTP/1.1`,
        'host: x',
        `x-service-token: ${headers['x-service-token']}`,
        'connection: close',
        '',
        '',
      ].join('\r\n')
      const { status } = await raw(world.internalPort, bytes)
      expect([path, status]).toEqual([path, 400])
    }
    expect(upstream.arrived).toEqual([])
    expect(upstream.refreshes).toBe(0)
  })

  test('T38 an API that the provider does not have is 404; so are prototypes of objects', async () => {
    for (const path of ['graph/v1.0/me', 'constructor/x', 'token', 'gmail2/users']) {
      const answer = await call(path)
      expect([path, answer.status, problemOf(answer.text)]).toEqual([path, 404, 'unknown_api'])
    }
    expect(upstream.arrived).toEqual([])
  })

  test('IA-05 a connection outside the caller’s scope is one that never was', async () => {
    for (const foreign of [other, 'con_aaaaaaaaaaaaaaaaaaaaaaaaaa']) {
      const path = `/internal/connections/${foreign}/proxy/gmail/users/me/profile`
      const answer = await ask(world.internalPort, { path, headers })
      expect([answer.status, problemOf(answer.text)]).toEqual([404, 'not_found'])
    }
    expect(upstream.arrived).toEqual([])
  })

  test('T38 a redirect is returned and not followed', async () => {
    upstream.answer = (_, response) =>
      void response.writeHead(302, { location: `${upstream.origin}/token` }).end()
    const answer = await call('drive/files/x?alt=media')
    expect([answer.status, answer.headers.location]).toEqual([302, `${upstream.origin}/token`])
    expect([upstream.arrived.length, upstream.refreshes]).toEqual([1, 0])
  })
})

describe('what passes', () => {
  test('IA-04 credentials, cookies, hop-by-hop headers and claims pass in neither direction; the rest does', async () => {
    upstream.answer = (_, response) => {
      response.writeHead(429, {
        'retry-after': '17',
        'set-cookie': ['a=b', 'c=d'],
        authorization: 'Bearer x',
        cookie: 'e=f',
        'proxy-authenticate': 'Basic',
        'x-named': '1',
        'www-authenticate': 'Bearer realm="x"',
        connection: 'close, x-named',
        etag: '"v"',
        'content-type': 'text/csv',
        'cache-control': 'public, max-age=60',
      })
      response.end('1,2')
    }
    const answer = await call('gmail/users/me/profile', {
      headers: {
        authorization: 'Bearer of the caller',
        cookie: 'session=x',
        connection: 'close, x-hop',
        'x-hop': '1',
        te: 'trailers',
        'proxy-authorization': 'Basic x',
        'x-session-token': 'y',
        'x-user-id': '1',
        'x-tenant-id': '1',
        'x-forwarded-for': '10.0.0.1',
        forwarded: 'for=10.0.0.1',
        'x-http-method-override': 'DELETE',
        'if-none-match': '"v"',
        prefer: 'IdType="ImmutableId"',
      },
    })
    const [arrived] = upstream.arrived
    expect(Object.keys(arrived?.headers ?? {}).sort()).toEqual([
      'authorization',
      'connection',
      'host',
      'if-none-match',
      'prefer',
    ])
    expect(arrived?.headers).toMatchObject({ authorization: 'Bearer access-1', 'if-none-match': '"v"' })
    expect([answer.status, answer.text]).toEqual([429, '1,2'])
    expect(answer.headers).toMatchObject({
      'retry-after': '17',
      etag: '"v"',
      'content-type': 'text/csv',
      'cache-control': 'no-store',
      'www-authenticate': 'Bearer realm="x"',
    })
    for (const name of ['set-cookie', 'authorization', 'cookie', 'proxy-authenticate', 'x-named'])
      expect([name, answer.headers[name]]).toEqual([name, undefined])
  })

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    '%s passes its body byte for byte, of any type',
    async (method) => {
      upstream.answer = (_, response) =>
        void response.writeHead(201, { 'content-type': 'x/y' }).end(Buffer.from([0, 255]))
      const body = Buffer.from([0, 1, 254, 255, 13, 10])
      for (const type of ['application/octet-stream', 'application/json', 'multipart/related; boundary=x']) {
        const answer = await call('drive-upload/files', { method, body, headers: { 'content-type': type } })
        expect([answer.status, [...answer.body]]).toEqual([201, [0, 255]])
        const arrived = upstream.arrived.at(-1)
        expect([arrived?.method, arrived?.url, arrived?.headers['content-type']]).toEqual([
          method,
          '/upload/drive/v3/files',
          type,
        ])
        expect(arrived?.body.equals(body)).toBe(true)
      }
    },
  )

  test('an answer without a body, and a compressed one, pass as they are', async () => {
    upstream.answer = (_, response) => void response.writeHead(204).end()
    expect((await call('gmail/users/me/messages/x', { method: 'DELETE' })).status).toBe(204)
    const packed = Buffer.from('1f8b0800', 'hex')
    upstream.answer = (_, response) =>
      void response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed)
    const answer = await call('gmail/users/me', { headers: { 'accept-encoding': 'gzip' } })
    expect([answer.headers['content-encoding'], answer.body.equals(packed)]).toEqual(['gzip', true])
  })

  test('TV-11 IA-07 each call is audited with caller, method, API, path without its query and status; logs know no token', async () => {
    upstream.answer = (_, response) => void response.writeHead(403).end()
    await call('gmail/users/me/profile?q=private')
    expect(await auditOf()).toEqual([
      {
        actor: `caller:${id.replace('_', '-')}`,
        detail: { provider: 'google', api: 'gmail', method: 'GET', path: 'users/me/profile', status: 403 },
      },
    ])
    expect(world.lines.join('\n')).not.toMatch(/access-\d|refresh-1|private/)
  })
})

describe('a token that the provider refuses', () => {
  const onlyFresh: Upstream['answer'] = ({ headers: given, body }, response) =>
    given.authorization === 'Bearer access-1'
      ? void response.writeHead(401).end('old')
      : void response.writeHead(200).end(`fresh ${body.length}`)

  test('RE-09 is refreshed once and the call repeated once, with its body', async () => {
    upstream.answer = onlyFresh
    const body = 'x'.repeat(1024 * 1024)
    const answer = await call('gmail/users/me/messages/send', { method: 'POST', body })
    expect([answer.status, answer.text]).toEqual([200, `fresh ${body.length}`])
    expect(upstream.arrived.map((one) => [one.headers.authorization, one.body.length])).toEqual([
      ['Bearer access-1', body.length],
      ['Bearer access-2', body.length],
    ])
    expect(upstream.refreshes).toBe(1)
    expect((await auditOf()).map(({ detail }) => detail.status)).toEqual([200])
  })

  test('RE-09 a body above 1 MiB is streamed, and its 401 is passed on without a repeat', async () => {
    upstream.answer = onlyFresh
    const body = Buffer.alloc(3 * 1024 * 1024, 1)
    for (const chunked of [false, true]) {
      const answer = await call('drive-upload/files', { method: 'POST', body, chunked })
      expect([answer.status, answer.text]).toEqual([401, 'old'])
    }
    expect(upstream.arrived.map((one) => one.body.equals(body))).toEqual([true, true])
    expect(upstream.arrived.map((one) => one.headers['content-length'])).toEqual([
      String(body.length),
      undefined,
    ])
    expect(upstream.refreshes).toBe(0)
  })

  test('RE-09 many calls with one refused token cause one refresh', async () => {
    upstream.answer = onlyFresh
    const answers = await Promise.all(Array.from({ length: 12 }, () => call('gmail/users/me/profile')))
    expect(upstream.refreshes).toBe(1)
    expect(answers.some(({ status }) => status === 200)).toBe(true)
    expect((await call('gmail/users/me/profile')).status).toBe(200)
  })

  test('RE-09 a provider that refuses every token is asked for one refresh, not for one with each call', async () => {
    upstream.answer = (_, response) => void response.writeHead(401).end('never')
    for (let i = 0; i < 5; i += 1) expect((await call('gmail/users/me/profile')).status).toBe(401)
    expect(upstream.refreshes).toBe(1)
    expect(upstream.arrived).toHaveLength(6)
  })
})

describe('when somebody goes away', () => {
  test('a client that ends ends the call at the provider', async () => {
    let asked = 0
    upstream.answer = (_, response) => {
      asked += 1
      response.writeHead(200)
      response.write('begun')
    }
    const outgoing = httpRequest({
      port: world.internalPort,
      host: '127.0.0.1',
      path: `/internal/connections/${id}/proxy/drive/files/x`,
      headers,
    })
    outgoing.on('error', () => undefined)
    const begun = new Promise<string>((resolve) =>
      outgoing.on('response', (incoming) => {
        incoming.on('error', () => undefined)
        incoming.once('data', (chunk: Buffer) => resolve(chunk.toString()))
      }),
    )
    outgoing.end()
    // the answer is streamed: its beginning is here before its end exists
    expect(await begun).toBe('begun')
    expect([asked, upstream.cut.count]).toEqual([1, 0])
    outgoing.destroy()
    await until('the provider’s side is ended', () => upstream.cut.count === 1)
  })

  test('a client that ends before the provider has answered ends the call there too', async () => {
    upstream.answer = () => undefined
    const outgoing = httpRequest({
      port: world.internalPort,
      host: '127.0.0.1',
      path: `/internal/connections/${id}/proxy/drive/files/x`,
      headers,
    })
    outgoing.on('error', () => undefined)
    outgoing.end()
    await until('the provider is asked', () => upstream.arrived.length === 1)
    outgoing.destroy()
    await until('the provider’s side is ended', () => upstream.cut.count === 1)
    await until('it is audited', async () => (await auditOf()).length === 1)
  })

  test('a provider that cannot be reached is 502, audited, and no token is in the log', async () => {
    upstream.answer = (_, response) => void response.destroy()
    const answer = await call('gmail/users/me/profile')
    expect([answer.status, problemOf(answer.text)]).toEqual([502, 'provider_unreachable'])
    expect((await auditOf()).map(({ detail }) => detail.status)).toEqual([null])
    expect(world.lines.join('\n')).not.toMatch(/access-\d/)
  })

  test('a connection that ended gives 409 with its reason, and nothing is sent', async () => {
    await world.db.rows(
      sql`update auth.oauth_tokens set status = 'reauth_required', status_reason = 'consent_revoked' where id = ${id}`,
    )
    const answer = await call('gmail/users/me/profile')
    expect([answer.status, json(answer)]).toEqual([
      409,
      expect.objectContaining({ error: 'reauth_required', reason: 'consent_revoked' }),
    ])
    expect(upstream.arrived).toEqual([])
  })
})
