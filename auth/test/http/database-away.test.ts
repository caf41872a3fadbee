/** WI-14: without the database nothing is acknowledged, and Auth finds it again by itself. */
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openWorld, type World } from '../world.ts'
import { type DatabaseProxy, openDatabaseProxy } from './database-proxy.ts'
import { signIn, stored, until } from './people.ts'
import { listRoutes, pathOf } from './route-list.ts'
import { type Answer, ask } from './wire.ts'

let proxy: DatabaseProxy
let world: World
let warm: Seeded

beforeAll(async () => {
  proxy = await openDatabaseProxy(inject('postgresUrl'))
  world = await openWorld({ seenAt: proxy.url })
  warm = await seedSubscription(world.database.url, world.encryptionKey, 'warm@example.com')
  expect((await graph(warm, 'before')).status).toBe(202)
})
afterAll(async () => {
  await proxy.up()
  await world.close()
  await proxy.close()
})

const graph = (of: Seeded, n: string): Promise<Answer> =>
  ask(world.publicPort, { method: 'POST', path: of.path, body: of.notification(n) })

function relay(n: string): Promise<Answer> {
  const body = JSON.stringify({ n })
  const secret = world.environment.MICROSOFT_WEBHOOK_SECRET ?? ''
  return ask(world.publicPort, {
    method: 'POST',
    path: '/webhook/events/microsoft',
    headers: { 'x-ms-signature': createHmac('sha256', secret).update(body).digest('hex') },
    body,
  })
}

/** Notifications that each have to be looked up: afterwards every connection of the pool is open and idle. */
async function openAllConnections(): Promise<void> {
  const keys = openChannelKeys(
    openKeyRing(new Map([['k0', Buffer.from(world.encryptionKey, 'base64url')]]), 'k0'),
  )
  await Promise.all(
    Array.from({ length: 40 }, () =>
      ask(world.publicPort, {
        method: 'POST',
        path: warm.path,
        body: JSON.stringify({
          value: [{ subscriptionId: 'x', clientState: keys.mintChannelSecret().reveal() }],
        }),
      }),
    ),
  )
}

test.each([
  ['is down', () => proxy.down()],
  ['does not answer', async () => proxy.hang()],
])(
  'WI-14 while the database %s: 503 within 2.5 s with Retry-After, no 2xx; then the repetition is stored',
  async (what, lose) => {
    const cold = await seedSubscription(world.database.url, world.encryptionKey, `${what}@example.com`)
    /** A subscription that the process knows, one that it has to look up, and a relay. */
    const kinds: [string, (n: string) => Promise<Answer>][] = [
      ['known', (n) => graph(warm, n)],
      ['unknown', (n) => graph(cold, n)],
      ['relay', relay],
    ]
    const before = await stored(world.db)
    await openAllConnections()
    await lose()
    for (const round of [1, 2, 3]) {
      const answers = await Promise.all(kinds.map(([kind, send]) => send(`${what} ${kind} ${round}`)))
      for (const [i, answer] of answers.entries()) {
        expect([kinds[i]?.[0], answer.status]).toEqual([kinds[i]?.[0], 503])
        expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/)
        expect(answer.ms).toBeLessThan(2_500)
      }
    }
    expect((await ask(world.internalPort, { path: '/ready' })).status).toBe(503)
    expect(await stored(world.db)).toEqual(before)

    await proxy.up()
    const repeated = [1, 2, 3].flatMap((round) =>
      kinds.map(
        ([kind, send]) =>
          () =>
            send(`${what} ${kind} ${round}`),
      ),
    )
    for (const send of repeated)
      await until('the repetition is acknowledged', async () => (await send()).status < 300)
    expect((await stored(world.db)).events - before.events).toBe(repeated.length)
    expect((await ask(world.internalPort, { path: '/ready' })).status).toBe(200)
  },
)

test('WI-14 a forgery dies without the database: it costs no query, and its answer does not change', async () => {
  await proxy.down()
  const forged = Buffer.from(
    warm
      .notification('forged')
      .toString()
      .replace(/("clientState":"[^"]{10})./, '$1!'),
  )
  const guessed = Buffer.from(
    warm
      .notification('guessed')
      .toString()
      .replace(
        /("clientState":")(.)/,
        (_, name: string, first: string) => `${name}${first === 'A' ? 'B' : 'A'}`,
      ),
  )
  const path = `${warm.path.slice(0, -1)}${warm.path.endsWith('A') ? 'B' : 'A'}`
  const post = (to: string, body: Buffer) => ask(world.publicPort, { method: 'POST', path: to, body })
  expect((await post(warm.path, forged)).status).toBe(202)
  expect((await post(warm.path, guessed)).status).toBe(202)
  expect((await post(path, warm.notification('ref'))).status).toBe(404)
  await proxy.up()
})

test.each([
  ['is down', () => proxy.down()],
  ['does not answer', async () => proxy.hang()],
])(
  'F11 while the database %s the internal API answers 503 with Retry-After, then works again',
  async (_, lose) => {
    const admin = await signIn(world, 'admin@example.com', 'admin')
    const guarded = (await listRoutes(world.internalPort)).filter(
      ({ access, method }) => access === 'user' && method === 'GET',
    )
    expect(guarded.length).toBeGreaterThanOrEqual(4)
    const questions: [string, Record<string, string>][] = [
      ...guarded.map((route): [string, Record<string, string>] => [pathOf(route), admin.headers]),
      [`/internal/oauth/token?user_id=1&provider=google`, { 'x-service-token': world.serviceToken }],
      ['/internal/connections', { 'x-service-token': `fcs_${'a'.repeat(43)}` }],
    ]
    await lose()
    const answers = await Promise.all(
      questions.map(([path, headers]) => ask(world.internalPort, { path, headers })),
    )
    for (const [i, answer] of answers.entries()) {
      expect([questions[i]?.[0], answer.status]).toEqual([questions[i]?.[0], 503])
      expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/)
      expect(JSON.parse(answer.text)).toMatchObject({ error: 'database_unavailable' })
    }
    await proxy.up()
    await until(
      'the list is answered',
      async () =>
        (await ask(world.internalPort, { path: '/internal/connections', headers: admin.headers })).status ===
        200,
    )
  },
)
