/**
 * RE-07 with a payload that really kills: whoever connects to send it is killed (SIGKILL) at that moment, three times.
 * Its neighbours are not answered before the second kill, so that each kill finds them in flight. Leases pass by the moved
 * clock. The delivery must be given up as poison, and its neighbours delivered: a crash is not held against them.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sql } from '../../../auth/src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../../../auth/test/database.ts'
import { addDelivery, addEvent } from '../../../auth/test/delivery/world.ts'
import { addRule, signIn, until } from '../../../auth/test/http/people.ts'
import { type AuthProcess, environmentOf, startAuth } from '../../../auth/test/world.ts'

const NEIGHBOURS = 30
const LEASE_MS = 46_000

let database: TestDatabase
let auth: AuthProcess
let kills = 0
const neighbours = new Set<string>()
let deadly = ''
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    const id = String(request.headers['webhook-id'])
    if (id === deadly) {
      kills += 1
      auth.signal('SIGKILL')
      return
    }
    if (kills < 2) return
    neighbours.add(id)
    response.writeHead(204).end()
  })
})

beforeAll(async () => {
  database = await testDatabase()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(async () => {
  await auth?.stop()
  server.close()
  await database?.close()
})

test('RE-07 F19 a delivery that kills its process three times is dead with its reason, and its neighbours are delivered', async () => {
  const { port } = server.address() as AddressInfo
  const environment = environmentOf(database.url, { EGRESS_ALLOW: `127.0.0.1:${port}/hook` })
  auth = await startAuth(environment)
  const place = { internalPort: auth.internalPort, serviceToken: environment.SERVICE_SECRET ?? '' }
  const admin = await signIn(place, 'admin@example.com', 'admin')
  const { destinationId } = await addRule(place, admin, `http://127.0.0.1:${port}/hook`)
  const event = await addEvent(database.db)
  deadly = event.id
  const delivery = await addDelivery(database.db, destinationId, event)
  for (let n = 0; n < NEIGHBOURS; n += 1)
    await addDelivery(database.db, destinationId, await addEvent(database.db))

  const read = () =>
    database.db.one<{ state: string; reason: string | null; claims: number }>(
      sql`select state, reason, claims from auth.deliveries where id = ${delivery}`,
    )
  for (let n = 1; n <= 3; n += 1) {
    await until(`killed ${n} times`, () => kills === n, 20_000)
    await auth.ended
    expect(await read()).toMatchObject({ state: 'open', claims: n })
    await database.db.rows(sql`update auth.clock_offset set offset_ms = ${n * LEASE_MS}`)
    auth = await startAuth(environment)
  }
  await until('it is given up', async () => (await read())?.state === 'dead', 20_000)
  expect(await read()).toMatchObject({ state: 'dead', reason: 'poison' })
  await until('its neighbours are delivered', () => neighbours.size === NEIGHBOURS, 90_000)
  const counts = sql`select count(*)::int as open from auth.deliveries where state <> 'delivered' and id <> ${delivery}`
  await until('and settled', async () => (await database.db.one<{ open: number }>(counts))?.open === 0)
  expect(kills).toBe(3)
}, 240_000)
