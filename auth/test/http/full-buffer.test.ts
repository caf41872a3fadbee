/** More than may wait for the database: refused at once and told when to come again, and nothing of it is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { holdStoring } from '../../../e2e/src/hold-storing.ts'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { type Answer, ask } from './wire.ts'

const ITEMS = 1_000
/** Each weighs about 2.4 MB with its events; 64 MiB may wait. */
const REQUESTS = 40
/** Of what was refused, as many are sent again: storing all of it says nothing more. */
const REPEATED = 6

let world: World
let seeded: Seeded
beforeAll(async () => {
  world = await openWorld()
  seeded = await seedSubscription(world.database.url, world.encryptionKey, 'full@example.com')
  expect((await send(-1, 1)).status).toBe(202)
})
afterAll(() => world.close())

function send(nth: number, items = ITEMS): Promise<Answer> {
  const names = Array.from({ length: items }, (_, item) => `${nth}-${item}`)
  return ask(world.publicPort, { method: 'POST', path: seeded.path, body: seeded.notification(...names) })
}

test('WI-09 WI-14 a full buffer: 503 with Retry-After at once, no 2xx; the repetition is stored, each event once', async () => {
  const letGo = await holdStoring(world.database.url)
  const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, nth) => send(nth)))
  await letGo()
  for (const answer of answers) {
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/)
  }
  // some were refused because too much waited, the others because they waited for too long
  const metrics = (await ask(world.internalPort, { path: '/metrics' })).text
  const counted = (reason: string) =>
    Number(
      new RegExp(`flovify_webhook_overloads_total\\{reason="${reason}"\\} (\\d+)`).exec(metrics)?.[1] ?? 0,
    )
  expect(counted('overloaded')).toBeGreaterThan(0)
  expect(counted('unavailable')).toBeGreaterThan(0)
  expect(counted('overloaded') + counted('unavailable')).toBe(REQUESTS)

  for (let nth = 0; nth < REPEATED; nth += 1) {
    let answer = await send(nth)
    for (let again = 0; answer.status === 503 && again < 20; again += 1) answer = await send(nth)
    expect(answer.status).toBe(202)
  }
  // what was under way when it was let go may have been stored as well: its sender was told to repeat it
  const subjects = await world.db.rows<{ subject: string }>(
    sql`select subject from auth.events where subject ~ ${`AAAq[0-${REPEATED - 1}]-`}`,
  )
  expect(subjects).toHaveLength(REPEATED * ITEMS)
  expect(new Set(subjects.map(({ subject }) => subject)).size).toBe(REPEATED * ITEMS)
}, 120_000)
