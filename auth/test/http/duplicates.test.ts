/** WI-04: copies of one notification on three instances are one event and one delivery for each rule. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { addRule, openReceiver, type Receiver, signIn, stored, until } from './people.ts'
import { ask } from './wire.ts'

let receiver: Receiver
let world: World

beforeAll(async () => {
  receiver = await openReceiver()
  world = await openWorld({
    instances: 3,
    environment: { EGRESS_ALLOW: `127.0.0.1:${receiver.port}/hook` },
  })
})
afterAll(async () => {
  await world.close()
  await receiver.close()
})

test('WI-04 5 copies at once and 5 later on 3 instances: all 2xx, one event, one delivery for each rule', async () => {
  const admin = await signIn(world, 'admin@example.com', 'admin')
  const rules = [
    await addRule(world, admin, `http://127.0.0.1:${receiver.port}/hook/1`),
    await addRule(world, admin, `http://127.0.0.1:${receiver.port}/hook/2`),
  ]
  const seeded = await seedSubscription(world.database.url, world.encryptionKey)
  const body = seeded.notification('once')
  const send = async (copy: number) => {
    const { publicPort } = world.instances[copy % 3] ?? world
    return (await ask(publicPort, { method: 'POST', path: seeded.path, body })).status
  }
  expect(await Promise.all([0, 1, 2, 3, 4].map(send))).toEqual([202, 202, 202, 202, 202])
  for (const copy of [5, 6, 7, 8, 9]) expect(await send(copy)).toBe(202)

  expect((await stored(world.db)).events).toBe(1)
  const deliveries = () =>
    world.db.rows<{ rule_id: string; state: string }>(sql`
      select rule_id, state from auth.deliveries union all select rule_id, state from auth.delivery_outcomes`)
  await until('both are delivered', async () =>
    (await deliveries()).every(({ state }) => state === 'delivered'),
  )
  expect((await deliveries()).map(({ rule_id }) => rule_id).sort()).toEqual(
    rules.map(({ ruleId }) => ruleId).sort(),
  )
  expect(receiver.received).toHaveLength(2)
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1)
})

test('WI-04 two notifications that differ in one etag are two events', async () => {
  const before = (await stored(world.db)).events
  const seeded = await seedSubscription(world.database.url, world.encryptionKey, 'second@example.com')
  for (const n of ['a', 'b'])
    await ask(world.publicPort, { method: 'POST', path: seeded.path, body: seeded.notification(n) })
  expect((await stored(world.db)).events).toBe(before + 2)
})
