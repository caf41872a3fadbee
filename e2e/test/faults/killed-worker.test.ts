/**
 * `kill -9` of a working process at five points of one delivery. Each point has a database, a receiver and a process of
 * its own, and all five wait for their leases at the same time.
 */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server as NetServer } from 'node:net'
import pg from 'pg'
import { describe, expect, inject, it } from 'vitest'
import { sql } from '../../../auth/src/db/sql.ts'
import { testDatabase } from '../../../auth/test/database.ts'
import { addDelivery, addEvent } from '../../../auth/test/delivery/world.ts'
import { openDatabaseProxy } from '../../../auth/test/http/database-proxy.ts'
import { addRule, signIn, until } from '../../../auth/test/http/people.ts'
import { environmentOf, startAuth } from '../../../auth/test/world.ts'

/** What is promised: the lease of 45 s, and time to claim and send. */
const AGAIN_WITHIN_MS = 60_000

interface Scene {
  readonly databaseUrl: string
  /** Ids of the requests that were read to their end. */
  readonly received: string[]
  /** What the receiver does with a request; it answers 204 by itself once this is undefined. */
  hold: ((response: ServerResponse) => void) | undefined
  /** Connections that were ever opened. */
  connections: number
  query(text: string): Promise<pg.QueryResult>
  /** Lets nobody use a table like this until let go. */
  lock(text: string): Promise<() => Promise<void>>
  /** From now on nothing passes between the process and its database. */
  cutDatabase(): void
}

interface Point {
  readonly name: string
  /** How often the event arrives in all: once where the first process never sent it. */
  readonly arrivals: number
  /** Before the delivery is there. */
  prepare(scene: Scene): Promise<unknown>
  /** Resolves when the process is exactly there. */
  reached(scene: Scene): Promise<void>
}

const leased = async (scene: Scene) =>
  (await scene.query('select 1 from auth.deliveries where lease_until > auth.clock()')).rowCount === 1
const held: ServerResponse[] = []

const POINTS: readonly (Point & { undo?(scene: Scene, letGo: unknown): Promise<void> })[] = [
  {
    name: 'claimed',
    arrivals: 1,
    // the event cannot be read: what is claimed goes no further
    prepare: (scene) => scene.lock('lock table auth.events in access exclusive mode'),
    reached: (scene) => until('it is claimed', () => leased(scene)),
    undo: async (_scene, letGo) => (letGo as () => Promise<void>)(),
  },
  {
    name: 'connected',
    arrivals: 1,
    prepare: async () => {},
    reached: (scene) => until('it is connected', () => scene.connections === 1),
  },
  {
    name: 'sent',
    arrivals: 2,
    prepare: async (scene) => {
      scene.hold = (response) => held.push(response)
    },
    reached: (scene) => until('it is sent', () => scene.received.length === 1),
  },
  {
    name: 'answered',
    arrivals: 2,
    prepare: async (scene) => {
      scene.hold = (response) => {
        scene.cutDatabase()
        response.writeHead(204).end()
      }
    },
    reached: (scene) => until('it is answered', () => scene.received.length === 1),
  },
  {
    name: 'before commit',
    arrivals: 2,
    prepare: (scene) => scene.lock('lock table auth.attempts in exclusive mode'),
    reached: (scene) =>
      until('it is settling', async () => {
        const { rowCount } = await scene.query(SETTLING)
        return rowCount === 1
      }),
    // the server would go on with a statement whose client is gone: the commit is what must not happen
    undo: async (scene, letGo) => {
      await scene.query(SETTLING.replace('select pid', 'select pg_terminate_backend(pid)'))
      await (letGo as () => Promise<void>)()
    },
  },
]
const SETTLING = `select pid from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into auth.attempts%'`

describe('kill -9 of a working process', () => {
  it('DO-09 F2 at five points: delivered at least once, again within 60 s, under the same webhook-id', async () => {
    const results = await Promise.all(POINTS.map(killAt))
    console.log(`figures: ${JSON.stringify({ points: results })}`)
    for (const [i, result] of results.entries()) {
      expect(result).toMatchObject({ point: POINTS[i]?.name, state: 'delivered', strangers: 0 })
      expect(result.arrivals).toBe(POINTS[i]?.arrivals)
      expect(result.againMs).toBeLessThanOrEqual(AGAIN_WITHIN_MS)
    }
  }, 180_000)
})

async function killAt(point: (typeof POINTS)[number]) {
  const database = await testDatabase()
  const proxy = await openDatabaseProxy(inject('postgresUrl'))
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const received: string[] = []
  const scene: Scene = {
    databaseUrl: database.url,
    received,
    hold: undefined,
    connections: 0,
    query: (text) => client.query(text),
    lock: async (text) => {
      const locker = new pg.Client({ connectionString: database.url })
      await locker.connect()
      await locker.query(`begin; ${text}`)
      return async () => {
        await locker.query('rollback')
        await locker.end()
      }
    },
    cutDatabase: () => proxy.hang(),
  }
  // one that is only connected is not even read before the process is gone
  const receiver = await listen(scene, point.name === 'connected')
  const { port } = receiver.address() as AddressInfo
  const environment = environmentOf(proxy.url(database.url), { EGRESS_ALLOW: `127.0.0.1:${port}/hook` })
  const first = await startAuth(environment)
  const place = { internalPort: first.internalPort, serviceToken: environment.SERVICE_SECRET ?? '' }
  const admin = await signIn(place, 'admin@example.com', 'admin')
  const { destinationId } = await addRule(place, admin, `http://127.0.0.1:${port}/hook`)
  const event = await addEvent(database.db)
  const letGo = await point.prepare(scene)
  const delivery = await addDelivery(database.db, destinationId, event)

  await point.reached(scene)
  first.signal('SIGKILL')
  await first.ended
  const killedAt = performance.now()
  scene.hold = undefined
  await point.undo?.(scene, letGo)
  const second = await startAuth({ ...environment, DATABASE_URL: database.url })
  const outcome = () =>
    database.db.one<{ state: string }>(sql`select state from auth.delivery_outcomes where id = ${delivery}`)
  await until(`${point.name}: delivered`, async () => (await outcome()) !== undefined, 120_000)
  const result = {
    point: point.name,
    state: (await outcome())?.state,
    arrivals: received.length,
    strangers: received.filter((id) => id !== event.id).length,
    againMs: Math.round(performance.now() - killedAt),
  }
  await second.stop()
  receiver.close()
  await client.end()
  await proxy.close()
  await database.close()
  return result
}

/** @param deafAtFirst the first connection is taken, and nothing is ever read from it */
async function listen(scene: Scene, deafAtFirst: boolean): Promise<NetServer> {
  const http = createServer((request, response) => {
    request.resume().on('end', () => {
      scene.received.push(String(request.headers['webhook-id']))
      if (scene.hold === undefined) response.writeHead(204).end()
      else scene.hold(response)
    })
  })
  const server = createNetServer((socket) => {
    scene.connections += 1
    socket.on('error', () => {})
    if (deafAtFirst && scene.connections === 1) socket.pause()
    else http.emit('connection', socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
