/** WI-10: JSON made to hurt, at a real process: answered, cheap, and nothing of the process has changed. */
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { type AuthProcess, environmentOf, startAuth } from '../world.ts'
import { type Person, signIn } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, pathOf } from './route-list.ts'
import { type Answer, ask } from './wire.ts'

const CPU_MS = 100
const MIB = 1024 * 1024
const DEEP = 100_000

let database: TestDatabase
let environment: Record<string, string>
let auth: AuthProcess
let seeded: Seeded
let admin: Person
let routes: ListedRoute[]

beforeAll(async () => {
  database = await testDatabase()
  environment = environmentOf(database.url)
  auth = await startAuth(environment)
  seeded = await seedSubscription(database.url, environment.ENCRYPTION_KEY ?? '')
  const place = { internalPort: auth.internalPort, serviceToken: environment.SERVICE_SECRET ?? '' }
  admin = await signIn(place, 'admin@example.com', 'admin')
  routes = (await listRoutes(auth.internalPort)).filter(({ hasBody }) => hasBody)
  // a process that has just started still compiles what it runs
  for (let i = 0; i < 20; i += 1) await graph(HOSTILE[0]?.[1]() ?? '')
})
afterAll(async () => {
  await auth.stop()
  await database.close()
})

const bytes = (...values: number[]) => Buffer.from(values)
/** Each is put where a value may stand. */
const HOSTILE: readonly (readonly [name: string, body: () => string | Buffer])[] = [
  ['arrays 100,000 deep', () => `{"value":${'['.repeat(DEEP)}${']'.repeat(DEEP)}}`],
  ['arrays 100,000 deep and never closed', () => `{"value":${'['.repeat(DEEP)}`],
  ['objects 50,000 deep', () => `{"value":${'{"a":'.repeat(DEEP / 2)}1${'}'.repeat(DEEP / 2)}}`],
  ['__proto__', () => '{"value":[{"__proto__":{"polluted":true}}],"__proto__":{"polluted":true}}'],
  ['__proto__ escaped', () => '{"value":[],"\\u005f_proto__":{"polluted":true}}'],
  ['constructor.prototype', () => '{"value":[],"constructor":{"prototype":{"polluted":true}}}'],
  ['duplicate keys', () => '{"value":[],"value":[{}],"value":null}'],
  ['200,000 duplicate keys', () => `{${'"a":1,'.repeat(150_000)}"value":[]}`],
  [
    '100,000 different keys',
    () => `{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join(',')},"value":[]}`,
  ],
  ['lone surrogates', () => '{"value":[{"clientState":"\\ud800","a":"\\udfff\\ud800"}]}'],
  ['a lone surrogate as key', () => '{"value":[],"\\udc00":1}'],
  ['a number of a million digits', () => `{"value":${'9'.repeat(MIB - 100)}}`],
  ['an exponent of a million digits', () => `{"value":1e${'9'.repeat(MIB - 100)}}`],
  ['1e400', () => '{"value":1e400}'],
  ['NUL, plain', () => '{"value":["\0"]}'],
  ['NUL, escaped', () => '{"value":[{"clientState":"\\u0000"}]}'],
  ['a string of a million backslashes', () => `{"value":"${'\\\\'.repeat(MIB / 2 - 100)}"}`],
  ['a string that never ends', () => `{"value":"${'a'.repeat(MIB - 100)}`],
  ['a million spaces', () => `{"value":[]${' '.repeat(MIB - 100)}}`],
  ['a million commas', () => `{"value":[${','.repeat(MIB - 100)}]}`],
  ['300,000 items', () => `{"value":[${'{},'.repeat(300_000)}{}]}`],
  [
    'invalid UTF-8',
    () => Buffer.concat([Buffer.from('{"value":["'), bytes(0xff, 0xc0, 0x80), Buffer.from('"]}')]),
  ],
  [
    'a surrogate in UTF-8',
    () => Buffer.concat([Buffer.from('{"value":["'), bytes(0xed, 0xa0, 0x80), Buffer.from('"]}')]),
  ],
  ['UTF-16', () => Buffer.from('\ufeff{"value":[]}', 'utf16le')],
]

const graph = (body: string | Buffer): Promise<Answer> =>
  ask(auth.publicPort, {
    method: 'POST',
    path: seeded.path,
    body,
    headers: { 'content-type': 'application/json' },
  })

function relay(body: string | Buffer): Promise<Answer> {
  const signature = createHmac('sha256', environment.MICROSOFT_WEBHOOK_SECRET ?? '')
    .update(body)
    .digest('hex')
  return ask(auth.publicPort, {
    method: 'POST',
    path: '/webhook/events/microsoft',
    body,
    headers: { 'x-ms-signature': signature },
  })
}

/** The least of three: what else the process does meanwhile (collecting garbage, storing) is not the request's. */
async function cheaply<T>(what: string, work: () => Promise<T>): Promise<T> {
  const spent: number[] = []
  for (;;) {
    const before = await auth.measure()
    const result = await work()
    const after = await auth.measure()
    spent.push(after.cpuMs - before.cpuMs)
    expect(after.prototypes).toEqual(before.prototypes)
    expect(after.prototypes).not.toContain('polluted')
    if (Math.min(...spent) < CPU_MS) return result
    expect([what, spent.length < 3, spent]).toEqual([what, true, expect.any(Array)])
  }
}

describe('WI-10', () => {
  test.each(HOSTILE)('WI-10 %s, at a path of ours: a fitting 4xx or nothing stored', async (name, body) => {
    const answer = await cheaply(name, () => graph(body()))
    expect([400, 413, 202]).toContain(answer.status)
    expect(answer.body).toHaveLength(0)
    const [row] = await database.db.rows<{ n: string }>(
      sql`select count(*) n from auth.events where provider = 'microsoft' and connection_id is not null`,
    )
    expect(row?.n).toBe('0')
  })

  test.each(HOSTILE)(
    'WI-10 %s, rightly signed by a relay: stored as bytes, harmless to whoever reads it',
    async (name, body) => {
      const sent = body()
      const answer = await cheaply(name, () => relay(sent))
      if (Buffer.byteLength(sent) > MIB) expect(answer.status).toBe(413)
      else {
        expect(answer.status).toBe(200)
        const [row] = await database.db.rows<{ body: Buffer }>(
          sql`select body from auth.notifications order by received_at desc limit 1`,
        )
        expect(row?.body.equals(Buffer.from(sent))).toBe(true)
      }
      const page = await ask(auth.internalPort, { path: '/internal/events?limit=1', headers: admin.headers })
      expect(page.status).toBe(200)
      const [newest] = (JSON.parse(page.text) as { items: { id: string }[] }).items
      const detail = await ask(auth.internalPort, {
        path: `/internal/events/${newest?.id}`,
        headers: admin.headers,
      })
      expect(detail.status).toBe(200)
      expect(JSON.parse((JSON.parse(detail.text) as { payload: string }).payload)).toHaveProperty('data')
    },
  )

  test.each(HOSTILE)('WI-10 %s, at every internal route with a body: 4xx', async (name, body) => {
    for (const route of routes) {
      const answer = await cheaply(`${nameOf(route)} ${name}`, () =>
        ask(auth.internalPort, {
          method: route.method,
          path: pathOf(route),
          body: body(),
          headers: { ...admin.headers, 'content-type': 'application/json' },
        }),
      )
      expect([400, 413]).toContain(answer.status)
      expect(Object.keys(JSON.parse(answer.text) as object).sort()).toEqual(['error', 'message'])
    }
  })

  test('WI-10 afterwards it is the same process, ready, and an ordinary notification is stored', async () => {
    expect((await ask(auth.internalPort, { path: '/ready' })).status).toBe(200)
    expect((await graph(seeded.notification('ordinary'))).status).toBe(202)
    expect(auth.output()).not.toMatch(/"level":"error"/)
  })
})
