/** What a wrong secret looks like to an administrator: the sample of refused notifications, through both doors. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
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

const read = async () =>
  (
    json(await ask(world.internalPort, { path: '/internal/rejections', headers: admin.headers })) as {
      items: { provider: string; reason: string; header_names: string[]; body_bytes: number | null }[]
    }
  ).items

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
})

test('IA-05 they are for administrators', async () => {
  const answer = await ask(world.internalPort, { path: '/internal/rejections', headers: user.headers })
  expect(answer.status).toBe(403)
})
