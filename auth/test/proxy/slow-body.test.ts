/** WI-07 for the internal API: who sends a body slowly is cut, unless an admitted route passes it on as it comes. */
import { request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { raw } from '../http/wire.ts'
import { openWorld, type World } from '../world.ts'
import { openUpstream, seedToken, type Upstream } from './upstream.ts'

let upstream: Upstream
let world: World
let id: string

beforeAll(async () => {
  upstream = await openUpstream()
  world = await openWorld({ environment: { GOOGLE_API_URL: upstream.origin } })
  id = await seedToken(world)
})
afterAll(async () => {
  await world.close()
  await upstream.close()
})

/** The head and two bytes of a body of ten. */
const begun = (path: string, token: string) =>
  raw(
    world.internalPort,
    `POST ${path} HTTP/1.1\r\nhost: x\r\nx-service-token: ${token}\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"`,
    { patienceMs: 14_000 },
  )

test('WI-07 a slow body is cut within 11 s; a slow upload through the proxy is not', async () => {
  const path = `/internal/connections/${id}/proxy/drive-upload/files`
  const uploaded = new Promise<number>((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port: world.internalPort,
        method: 'POST',
        path,
        headers: { 'x-service-token': world.serviceToken, 'content-length': '4' },
      },
      (incoming) => resolve(incoming.resume().statusCode ?? 0),
    )
    outgoing.on('error', reject)
    outgoing.write('ab')
    void pause(12_000).then(() => outgoing.end('cd'))
  })
  const [admitted, stranger, status] = await Promise.all([
    begun('/internal/sessions', world.serviceToken),
    begun(path, 'wrong'),
    uploaded,
  ])
  for (const slow of [admitted, stranger]) {
    expect(slow.closed).toBe(true)
    expect(slow.ms).toBeLessThan(11_500)
  }
  expect([status, upstream.arrived[0]?.body.toString()]).toEqual([200, 'abcd'])
}, 30_000)
