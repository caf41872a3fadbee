/** WI-15: what proves a request is changed without a gap: the old and the new proof hold together, and then the new one alone. */
import { createHmac, randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { startPushSender } from '../../../e2e/src/push-sender.ts'
import { newEncryptionKey, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'
import { stored, until } from './people.ts'
import { ask } from './wire.ts'

const worlds: World[] = []
const open = async (environment: WorldOptions['environment']) => {
  const world = await openWorld({ environment: environment ?? {} })
  worlds.push(world)
  return world
}
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()))
})

const post = async (world: World, path: string, body: string | Buffer, headers = {}) =>
  (
    await ask(world.publicPort, {
      method: 'POST',
      path,
      body,
      headers: { 'content-type': 'application/json', ...headers },
    })
  ).status

describe('WI-15 a change', () => {
  test('WI-15 of a relay’s secret: both verify while the earlier one is named, then the new one alone', async () => {
    const [earlier, now] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
    const relay = (world: World, secret: string, body: string) =>
      post(world, '/webhook/events/microsoft', body, {
        'x-ms-signature': createHmac('sha256', secret).update(body).digest('hex'),
      })
    const between = await open({
      MICROSOFT_WEBHOOK_SECRET: now,
      MICROSOFT_WEBHOOK_SECRET_EARLIER: earlier,
    })
    expect(await relay(between, now, '{"n":1}')).toBe(200)
    expect(await relay(between, earlier, '{"n":2}')).toBe(200)
    expect(await relay(between, 'a third secret of more than 32 bytes', '{"n":3}')).toBe(401)
    expect((await stored(between.db)).events).toBe(2)
    const after = await open({ MICROSOFT_WEBHOOK_SECRET: now })
    expect(await relay(after, now, '{"n":1}')).toBe(200)
    expect(await relay(after, earlier, '{"n":2}')).toBe(401)
    expect((await stored(after.db)).events).toBe(1)
  })

  test('WI-15 of a Pub/Sub subscription: each named audience, account and subscription is believed, no other', async () => {
    // the sender is made without a database: what it pushes is about nobody, and is told apart by its status
    const sender = await startPushSender('postgres://127.0.0.1:9/none')
    const { GOOGLE_PUBSUB_AUDIENCE, GOOGLE_PUBSUB_SERVICE_ACCOUNT, GOOGLE_PUBSUB_SUBSCRIPTION } =
      sender.environment
    const push = (world: World) =>
      post(world, '/webhook/events/google', sender.body('nobody@example.com', 1), {
        authorization: sender.freshBearer(),
      })
    try {
      const both = {
        ...sender.environment,
        GOOGLE_PUBSUB_AUDIENCE: `https://next.example/push, ${GOOGLE_PUBSUB_AUDIENCE}`,
        GOOGLE_PUBSUB_SERVICE_ACCOUNT: `next@project.iam.gserviceaccount.com,${GOOGLE_PUBSUB_SERVICE_ACCOUNT}`,
        GOOGLE_PUBSUB_SUBSCRIPTION: `projects/p/subscriptions/next,${GOOGLE_PUBSUB_SUBSCRIPTION}`,
      }
      expect(await push(await open(both))).toBe(204)
      for (const [name, next] of [
        ['GOOGLE_PUBSUB_AUDIENCE', 'https://next.example/push'],
        ['GOOGLE_PUBSUB_SERVICE_ACCOUNT', 'next@project.iam.gserviceaccount.com'],
        ['GOOGLE_PUBSUB_SUBSCRIPTION', 'projects/p/subscriptions/next'],
      ])
        expect([name, await push(await open({ ...both, [name ?? '']: next }))]).toEqual([name, 401])
    } finally {
      await sender.close()
    }
  })

  test('WI-15 of the key ring: what was minted with the earlier key holds until that key is disabled', async () => {
    const world = await open({ ENCRYPTION_KEYS: `k1:${newEncryptionKey()}` })
    const seeded = await seedSubscription(world.database.url, world.encryptionKey, 'ring@example.com')
    const send = (id: string) => post(world, seeded.path, seeded.notification(id))
    await world.db.rows(sql`update auth.vault_keys set status = 'decrypt' where key_id = 'k0'`)
    await world.db.rows(sql`update auth.vault_keys set status = 'primary' where key_id = 'k1'`)
    const sealing = () => world.db.rows<{ with: string }>(sql`select sealing_with "with" from auth.processes`)
    await until(
      'the process seals with the new key',
      async () => (await sealing()).every((one) => one.with === 'k1'),
      20_000,
    )
    expect(await send('both hold')).toBe(202)
    expect((await stored(world.db)).events).toBe(1)
    await world.db.rows(sql`update auth.vault_keys set status = 'disabled' where key_id = 'k0'`)
    // a ref that was genuine is remembered for ten seconds
    await until('the earlier key is refused', async () => (await send('after')) === 404, 20_000)
    const { events } = await stored(world.db)
    expect(await send('later')).toBe(404)
    expect((await stored(world.db)).events).toBe(events)
  }, 90_000)
})
