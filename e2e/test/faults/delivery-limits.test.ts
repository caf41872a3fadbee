/** The limits of one destination, measured where they count: at a receiver, while four processes work at once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sql } from '../../../auth/src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../../../auth/test/database.ts'
import { type Receiver, startReceiver } from '../../../auth/test/delivery/receiver.ts'
import { addBacklog } from '../../../auth/test/delivery/world.ts'
import { expectJson, signIn, until } from '../../../auth/test/http/people.ts'
import { askJson } from '../../../auth/test/http/wire.ts'
import { type AuthProcess, environmentOf, startAuth } from '../../../auth/test/world.ts'

const COUNT = 110
const CONCURRENCY = 5
const RATE = 20
/** Five at once of this take as long as the rate allows: both limits are worked at. */
const HANDLING_MS = 220
const WORKERS = 4

let database: TestDatabase
let receiver: Receiver
const processes: AuthProcess[] = []
const arrivals: number[] = []
let open = 0
let most = 0

beforeAll(async () => {
  database = await testDatabase()
  receiver = await startReceiver((_request, response) => {
    arrivals.push(performance.now())
    open += 1
    most = Math.max(most, open)
    setTimeout(() => {
      open -= 1
      response.writeHead(204).end()
    }, HANDLING_MS)
  })
  const environment = environmentOf(database.url, { EGRESS_ALLOW: `127.0.0.1:${receiver.port}/hook` })
  const door = await startAuth({ ...environment, AUTH_ROLE: 'door' })
  processes.push(door)
  const place = { internalPort: door.internalPort, serviceToken: environment.SERVICE_SECRET ?? '' }
  const admin = await signIn(place, 'admin@example.com', 'admin')
  const made = expectJson(
    await askJson(door.internalPort, 'POST', '/internal/destinations', admin.headers, {
      name: 'limited',
      url: receiver.url,
      concurrency: CONCURRENCY,
      rate_per_second: RATE,
    }),
    201,
  ) as { id: string }
  processes.push(
    ...(await Promise.all(
      Array.from({ length: WORKERS }, () => startAuth({ ...environment, AUTH_ROLE: 'work' })),
    )),
  )
  await addBacklog(database.db, made.id, COUNT)
}, 60_000)

afterAll(async () => {
  await Promise.all(processes.map((one) => one.stop()))
  await receiver.close()
  await database.close()
})

describe('four working processes and one destination', () => {
  it('R9 DO-07 its concurrency and its rate are never exceeded at the receiver, in any second', async () => {
    // whoever is faster may take every turn: one that has worked leaves, so that others must hold the same limits
    const busy = () => processes.filter((one) => one.output().includes('"msg":"delivered"'))
    await until('a third has arrived', () => arrivals.length >= COUNT / 3 && busy().length > 0, 60_000)
    await busy()[0]?.stop()
    await until('all have arrived', () => arrivals.length === COUNT, 60_000)
    await until(
      'all are settled',
      async () => (await database.db.rows(sql`select 1 from auth.deliveries`)).length === 0,
    )
    await sleep(500)
    const densest = Math.max(
      ...arrivals.map((from) => arrivals.filter((at) => at >= from && at < from + 1_000).length),
    )
    const seconds = ((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)) / 1_000
    console.log('limits at the receiver:', { most, densest, seconds, perSecond: COUNT / seconds })
    expect(arrivals).toHaveLength(COUNT)
    expect(most).toBeLessThanOrEqual(CONCURRENCY)
    expect(densest).toBeLessThanOrEqual(RATE)
    // the limits were met, not merely kept: otherwise nothing would be shown
    expect(most).toBe(CONCURRENCY)
    expect(densest).toBeGreaterThan(RATE / 2)
    expect(busy().length).toBeGreaterThan(1)
  }, 90_000)
})
