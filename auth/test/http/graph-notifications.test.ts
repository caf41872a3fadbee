/** WI-01 for Graph: what is not proven by ref, clientState, subscription and tenant together leaves nothing. */
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newEncryptionKey, type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openWorld, type World } from '../world.ts'
import { forget, signIn, stored } from './people.ts'
import { type Answer, ask, askJson } from './wire.ts'

let world: World
let mine: Seeded
let other: Seeded

beforeAll(async () => {
  world = await openWorld()
  mine = await seedSubscription(world.database.url, world.encryptionKey, 'mine@example.com')
  other = await seedSubscription(world.database.url, world.encryptionKey, 'other@example.com')
})
afterAll(() => world.close())
beforeEach(() => forget(world.db))

type Item = Record<string, unknown>

const post = (body: string | Buffer, path = mine.path): Promise<Answer> =>
  ask(world.publicPort, { method: 'POST', path, body, headers: { 'content-type': 'application/json' } })

/** A genuine notification with one thing changed. */
function changed(change: (item: Item) => void, of: Seeded = mine): string {
  const { value } = JSON.parse(of.notification('m').toString()) as { value: [Item] }
  change(value[0])
  return JSON.stringify({ value })
}
const itemOf = (of: Seeded): Item =>
  (JSON.parse(of.notification('m').toString()) as { value: [Item] }).value[0]

const keysOf = (key: string) =>
  openChannelKeys(openKeyRing(new Map([['k0', Buffer.from(key, 'base64url')]]), 'k0'))

const flipLast = (text: string) => `${text.slice(0, -1)}${text.endsWith('A') ? 'B' : 'A'}`

describe('WI-01 Graph', () => {
  test('WI-01 a genuine notification is answered 202, and its bytes are stored as they came', async () => {
    const body = mine.notification('genuine')
    expect((await post(body)).status).toBe(202)
    const rows = await world.db.rows<{ body: Buffer; body_sha256: Buffer; headers: Buffer }>(
      sql`select body, body_sha256, headers from auth.notifications`,
    )
    expect(rows).toHaveLength(1)
    expect(rows[0]?.body.equals(body)).toBe(true)
    expect(rows[0]?.body_sha256.equals(createHash('sha256').update(body).digest())).toBe(true)
    expect(await stored(world.db)).toEqual({ notifications: 1, events: 1 })
  })

  test('WI-16 what Graph says of a subscription itself is no push: a silent one may go on asking to be renewed', async () => {
    const lastPush = async () =>
      (
        await world.db.one<{ at: Date | null }>(
          sql`select max(last_notification_at) as at from auth.subscriptions`,
        )
      )?.at
    await world.db.rows(sql`update auth.subscriptions set last_notification_at = null`)
    const asks = changed((item) => {
      delete item.changeType
      item.lifecycleEvent = 'reauthorizationRequired'
    })
    expect((await post(asks)).status).toBe(202)
    expect((await stored(world.db)).events).toBe(1)
    // its note would be written at once
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await lastPush()).toBeNull()
    await post(other.notification('pushed'), other.path)
    for (const end = Date.now() + 5_000; Date.now() < end && (await lastPush()) === null; )
      await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await lastPush()).toBeInstanceOf(Date)
  })

  const stateOf = (item: Item) => String(item.clientState)
  const mutations: [string, () => string][] = [
    ['no clientState', () => changed((item) => delete item.clientState)],
    ['an empty clientState', () => changed((item) => Object.assign(item, { clientState: '' }))],
    [
      'a clientState that is no text',
      () => changed((item) => Object.assign(item, { clientState: [stateOf(item)] })),
    ],
    [
      'a random clientState',
      () => changed((item) => Object.assign(item, { clientState: randomBytes(32).toString('base64url') })),
    ],
    [
      'a clientState with its last character changed',
      () => changed((item) => Object.assign(item, { clientState: flipLast(stateOf(item)) })),
    ],
    [
      'a truncated clientState',
      () => changed((item) => Object.assign(item, { clientState: stateOf(item).slice(0, -4) })),
    ],
    [
      'a clientState in upper case',
      () => changed((item) => Object.assign(item, { clientState: stateOf(item).toUpperCase() })),
    ],
    [
      'a clientState with a space behind it',
      () => changed((item) => Object.assign(item, { clientState: `${stateOf(item)} ` })),
    ],
    [
      "another subscription's clientState",
      () => changed((item) => Object.assign(item, { clientState: stateOf(itemOf(other)) })),
    ],
    [
      'a clientState of another key',
      () =>
        changed((item) =>
          Object.assign(item, { clientState: keysOf(newEncryptionKey()).mintChannelSecret().reveal() }),
        ),
    ],
    [
      'a clientState with a right MAC that no subscription has',
      () =>
        changed((item) =>
          Object.assign(item, { clientState: keysOf(world.encryptionKey).mintChannelSecret().reveal() }),
        ),
    ],
    ['another tenant', () => changed((item) => Object.assign(item, { tenantId: crypto.randomUUID() }))],
    [
      'another organisation',
      () => changed((item) => Object.assign(item, { organizationId: crypto.randomUUID() })),
    ],
    ['a tenant that is no text', () => changed((item) => Object.assign(item, { tenantId: [item.tenantId] }))],
    [
      'another subscription id',
      () => changed((item) => Object.assign(item, { subscriptionId: crypto.randomUUID() })),
    ],
    [
      "another's subscription id",
      () => changed((item) => Object.assign(item, { subscriptionId: itemOf(other).subscriptionId })),
    ],
    ['no subscription id', () => changed((item) => delete item.subscriptionId)],
    ['no item at all', () => '{"value":[]}'],
    ['an item that is no object', () => '{"value":["x",null,1,[]]}'],
  ]
  test.each(mutations)('WI-01 %s: 202, and nothing is stored', async (_, body) => {
    const answer = await post(body())
    expect(answer.status).toBe(202)
    expect(answer.body).toHaveLength(0)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  const refs: [string, () => string, number][] = [
    ['its last character changed', () => flipLast(mine.path), 404],
    ['its key id changed', () => mine.path.replace('.k0.', '.k9.'), 404],
    ['its MAC truncated', () => mine.path.slice(0, -6), 404],
    ['its MAC removed', () => mine.path.slice(0, mine.path.lastIndexOf('.')), 404],
    ['upper case', () => mine.path.replace(/[^/]+$/, (ref) => ref.toUpperCase()), 404],
    [
      'a MAC of another key',
      () => `/webhook/events/microsoft/${keysOf(newEncryptionKey()).mintRef(newId('sub'))}`,
      404,
    ],
    ['a channel secret instead', () => `/webhook/events/microsoft/${String(itemOf(mine).clientState)}`, 404],
    ['nothing', () => '/webhook/events/microsoft', 401],
  ]
  test.each(refs)('WI-01 a ref with %s is refused, and nothing is stored', async (_, path, status) => {
    expect(path()).not.toBe(mine.path)
    expect((await post(mine.notification('m'), path())).status).toBe(status)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-01 a truncated body is refused, and nothing is stored', async () => {
    const body = mine.notification('m')
    for (const length of [0, 1, 10, body.length - 2, body.length - 1]) {
      expect((await post(body.subarray(0, length))).status).toBe(400)
    }
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-01 a header of the relay form decides alone: no Graph notification passes beside a wrong one', async () => {
    const answer = await ask(world.publicPort, {
      method: 'POST',
      path: mine.path,
      body: mine.notification('m'),
      headers: { 'content-type': 'application/json', 'x-ms-signature': 'a'.repeat(64) },
    })
    expect(answer.status).toBe(401)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-01 after the connection is disconnected, what was genuine is answered and not stored', async () => {
    const gone = await seedSubscription(world.database.url, world.encryptionKey, 'gone@example.com')
    const person = await signIn(world, 'gone@example.com')
    expect((await post(gone.notification('1'), gone.path)).status).toBe(202)
    expect(
      (
        await askJson(
          world.internalPort,
          'DELETE',
          `/internal/connections/${gone.connectionId}`,
          person.headers,
        )
      ).status,
    ).toBe(200)
    await forget(world.db)
    expect((await post(gone.notification('2'), gone.path)).status).toBe(202)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })
})
