/** What a wrong secret looks like to an administrator: the sample of refused notifications, through both doors. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn, until } from './people.ts'
import { ask, json } from './wire.ts'

let world: World
let admin: Person
let user: Person
let seeded: Seeded

beforeAll(async () => {
  world = await openWorld()
  admin = await signIn(world, 'admin@example.com', 'admin')
  user = await signIn(world, 'user@example.com')
  seeded = await seedSubscription(world.database.url, world.encryptionKey, 'mine@example.com')
})
afterAll(() => world.close())

const answer = async () =>
  json(await ask(world.internalPort, { path: '/internal/rejections', headers: admin.headers })) as {
    items: {
      provider: string
      reason: string
      header_names: string[]
      body_bytes: number | null
      subscription_id: string | null
    }[]
    counts: { provider: string; reason: string; rejected: number; sampled: number }[]
  }
const read = async () => (await answer()).items

test('refused notifications are named by provider and reason, without a value of theirs', async () => {
  const forged = seeded.notification('m').toString().replace('"clientState":"', '"clientState":"x')
  const headers = { 'content-type': 'application/json', 'x-canary': 'canary-value' }
  const post = (path: string) => ask(world.publicPort, { method: 'POST', path, body: forged, headers })
  expect((await post(seeded.path)).status).toBe(202)
  expect((await post('/webhook/events/microsoft/sub_forged')).status).toBe(404)
  await until('both are sampled', async () => (await read()).length === 2)
  const items = await read()
  expect(items.map(({ provider, reason }) => `${provider} ${reason}`).sort()).toEqual([
    'microsoft bad_client_state',
    'microsoft bad_ref',
  ])
  const told = items.find(({ reason }) => reason === 'bad_client_state')
  expect(told).toMatchObject({
    body_bytes: forged.length,
    header_names: expect.arrayContaining(['x-canary']),
  })
  expect(JSON.stringify(items)).not.toContain('canary-value')
  // whose URL it came to is authentic; a forged one names nobody
  const { id } = (await world.db.one<{ id: string }>(
    sql`select id from auth.subscriptions where connection_id = ${seeded.connectionId}`,
  )) ?? { id: undefined }
  expect(told?.subscription_id).toBe(id)
  expect(items.find(({ reason }) => reason === 'bad_ref')?.subscription_id).toBeNull()
})

test('each refused item is counted, also where nothing in its request is genuine and nothing is sampled', async () => {
  const { value } = JSON.parse(seeded.notification('many').toString()) as { value: object[] }
  const forgeries = Array.from({ length: 40 }, () => ({ ...value[0], clientState: 'guessed' }))
  const late = { ...value[0], subscriptionId: crypto.randomUUID() }
  const counted = async (reason: string) =>
    (await answer()).counts.find((count) => count.provider === 'microsoft' && count.reason === reason)
  const before = (await counted('bad_client_state'))?.rejected ?? 0
  const body = JSON.stringify({ value: [...forgeries, late] })
  const headers = { 'content-type': 'application/json' }
  for (let n = 0; n < 5; n += 1)
    expect((await ask(world.publicPort, { method: 'POST', path: seeded.path, body, headers })).status).toBe(
      202,
    )
  await until('they are counted', async () => (await counted('wrong_subscription'))?.rejected === 5)
  const many = await counted('bad_client_state')
  expect(many?.rejected).toBeGreaterThanOrEqual(before + 200)
  expect(many?.sampled).toBeLessThan(20)
})

test('IA-05 they are for administrators', async () => {
  const refused = await ask(world.internalPort, { path: '/internal/rejections', headers: user.headers })
  expect(refused.status).toBe(403)
})
