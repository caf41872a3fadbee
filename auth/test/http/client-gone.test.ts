/** WI-14: who hangs up before the answer changes nothing for what he sent, nor for anybody else. */
import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { stored, until } from './people.ts'
import { ask } from './wire.ts'

let world: World
let seeded: Seeded

beforeAll(async () => {
  world = await openWorld()
  seeded = await seedSubscription(world.database.url, world.encryptionKey)
  expect((await post('known')).status).toBe(202)
})
afterAll(() => world.close())

const post = (n: string) =>
  ask(world.publicPort, { method: 'POST', path: seeded.path, body: seeded.notification(n) })

/** @returns a way to hang up, which resolves when the connection is closed */
function postAndHangUp(n: string): () => Promise<void> {
  const body = seeded.notification(n)
  const outgoing = request({
    host: '127.0.0.1',
    port: world.publicPort,
    method: 'POST',
    path: seeded.path,
    agent: false,
    headers: { 'content-length': String(body.length) },
  })
  const closed = new Promise<void>((resolve) => outgoing.once('close', () => resolve()))
  outgoing.on('error', () => {})
  outgoing.end(body)
  return () => {
    outgoing.destroy()
    return closed
  }
}

/** Statements of the door that wait for the lock of this test. */
const storing = async () =>
  (
    await world.db.rows(sql`
      select 1 from pg_stat_activity
       where datname = current_database() and application_name = 'flovify-ingest' and wait_event_type = 'Lock'`)
  ).length

test('WI-14 a client that hangs up while its group is committed: its event is stored, and each other is answered by its own commit', async () => {
  const before = (await stored(world.db)).events
  const others: Promise<{ status: number }>[] = []
  await world.db.transaction(async (tx) => {
    await tx.rows(sql`lock table auth.events in share mode`)
    const hangUp = postAndHangUp('gone')
    await until('it is being stored', async () => (await storing()) === 1)
    others.push(post('stays'))
    await until('so is the other', async () => (await storing()) === 2)
    await hangUp()
    // the door has seen it: it answers one that came later
    expect((await ask(world.publicPort, { path: '/webhook/health' })).status).toBe(200)
    others.push(post('came later'))
  })
  expect((await Promise.all(others)).map(({ status }) => status)).toEqual([202, 202])
  await until('all three are stored', async () => (await stored(world.db)).events === before + 3)
  // its sender, who knows nothing, repeats it: the same event
  expect((await post('gone')).status).toBe(202)
  expect((await stored(world.db)).events).toBe(before + 3)
  expect(world.lines.filter((line) => line.includes('"level":"error"') || line.includes('failed'))).toEqual(
    [],
  )
})
