/**
 * F30: a working process loses its database in the middle of a delivery, and lives. Its lease passes (by the moved
 * clock), another process sends the event again, and then the first one's way to the database is open again: what it
 * wants to settle is not its own any more.
 */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, inject, test } from 'vitest'
import { sql } from '../../../auth/src/db/sql.ts'
import { testDatabase } from '../../../auth/test/database.ts'
import { addDelivery, addEvent } from '../../../auth/test/delivery/world.ts'
import { openDatabaseProxy } from '../../../auth/test/http/database-proxy.ts'
import { addRule, signIn, until } from '../../../auth/test/http/people.ts'
import { environmentOf, startAuth } from '../../../auth/test/world.ts'

test('F30 RE-06 a process cut off from its database settles nothing that another one has taken over', async () => {
  const database = await testDatabase()
  const proxy = await openDatabaseProxy(inject('postgresUrl'))
  const held: ServerResponse[] = []
  const ids: string[] = []
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      ids.push(String(request.headers['webhook-id']))
      if (ids.length === 1) held.push(response)
      else response.writeHead(204).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const environment = environmentOf(proxy.url(database.url), { EGRESS_ALLOW: `127.0.0.1:${port}/hook` })
  const first = await startAuth(environment)
  const place = { internalPort: first.internalPort, serviceToken: environment.SERVICE_SECRET ?? '' }
  const admin = await signIn(place, 'admin@example.com', 'admin')
  const { destinationId } = await addRule(place, admin, `http://127.0.0.1:${port}/hook`)
  const event = await addEvent(database.db)
  const delivery = await addDelivery(database.db, destinationId, event)
  await until('it is sent', () => held.length === 1)
  await proxy.down()
  await database.db.rows(sql`update auth.clock_offset set offset_ms = 60000`)
  const second = await startAuth({ ...environment, DATABASE_URL: database.url })
  const outcomes = () =>
    database.db.rows<{ state: string; attempts: number }>(
      sql`select state, attempts from auth.delivery_outcomes where id = ${delivery}`,
    )
  await until('the other one has delivered it', async () => (await outcomes()).length === 1, 20_000)

  await proxy.up()
  held[0]?.writeHead(204).end()
  // whatever the first one tries now, it has tried when it has ended
  await first.stop()
  expect(await outcomes()).toEqual([{ state: 'delivered', attempts: 1 }])
  expect(
    await database.db.rows(sql`select 1 from auth.attempts where delivery_id = ${delivery}`),
  ).toHaveLength(1)
  expect(await database.db.rows(sql`select 1 from auth.deliveries`)).toEqual([])
  expect(ids).toEqual([event.id, event.id])
  await second.stop()
  server.close()
  await proxy.close()
  await database.close()
}, 120_000)
