/** WI-12: one Graph request that speaks about two tenants, a stranger and a forgery. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openWorld, type World } from '../world.ts'
import { signIn } from './people.ts'
import { ask, askJson, json } from './wire.ts'

let world: World
let a: Seeded
let b: Seeded

beforeAll(async () => {
  world = await openWorld()
  a = await seedSubscription(world.database.url, world.encryptionKey, 'a@example.com')
  b = await seedSubscription(world.database.url, world.encryptionKey, 'b@example.com')
})
afterAll(() => world.close())

type Item = Record<string, unknown>
const itemOf = (seeded: Seeded, n: string): Item =>
  (JSON.parse(seeded.notification(n).toString()) as { value: [Item] }).value[0]

async function failures(): Promise<Record<string, number>> {
  const page = (await ask(world.internalPort, { path: '/metrics' })).text
  const lines = page.matchAll(
    /^flovify_webhook_signature_failures_total\{provider="microsoft",reason="(\w+)"\} (\d+)$/gm,
  )
  return Object.fromEntries([...lines].map(([, reason, count]) => [reason, Number(count)]))
}

test('WI-12 tenants get only their own, what is not genuine is counted, and the answer is 202', async () => {
  const keys = openChannelKeys(
    openKeyRing(new Map([['k0', Buffer.from(world.encryptionKey, 'base64url')]]), 'k0'),
  )
  const items: Item[] = [
    itemOf(a, 'of a'),
    {
      ...itemOf(a, 'unknown'),
      subscriptionId: crypto.randomUUID(),
      clientState: keys.mintChannelSecret().reveal(),
    },
    itemOf(b, 'of b'),
    { ...itemOf(b, 'bad'), clientState: 'a guess' },
    { ...itemOf(a, 'crossed'), clientState: itemOf(b, 'x').clientState },
    { ...itemOf(b, 'tenant'), tenantId: itemOf(a, 'x').tenantId },
  ]
  const answer = await ask(world.publicPort, {
    method: 'POST',
    path: a.path,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ value: items }),
  })
  expect(answer.status).toBe(202)

  const events = await world.db.rows<{ connection_id: string; owner_id: string; data: Buffer }>(
    sql`select connection_id, owner_id, data from auth.events order by connection_id = ${a.connectionId} desc`,
  )
  expect(events.map(({ connection_id, owner_id }) => [connection_id, owner_id])).toEqual([
    [a.connectionId, a.ownerId],
    [b.connectionId, b.ownerId],
  ])
  expect(events[0]?.data.toString()).toContain('of a')
  expect(events[1]?.data.toString()).toContain('of b')
  expect(await failures()).toEqual({
    bad_client_state: 1,
    unknown_subscription: 1,
    wrong_subscription: 1,
    wrong_tenant: 1,
  })

  for (const [seeded, email] of [
    [a, 'a@example.com'],
    [b, 'b@example.com'],
  ] as const) {
    const person = await signIn(world, email)
    const page = json(await askJson(world.internalPort, 'GET', '/internal/events', person.headers)) as {
      items: { connection_id: string }[]
    }
    expect(page.items.map((item) => item.connection_id)).toEqual([seeded.connectionId])
  }
})
