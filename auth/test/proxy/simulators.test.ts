/** The proxy before the simulated providers: Graph and Gmail, with tokens that came by the whole way of connecting. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Answer, ask, raw } from '../http/wire.ts'
import { openSimulated, type Simulated } from '../simulated.ts'
import type { World } from '../world.ts'
import { HOSTILE } from './hostile-paths.ts'

let simulated: Simulated
let world: World

beforeAll(async () => {
  // what Auth asks for itself would be counted here
  const environment = { GOOGLE_WATCH: 'none', MICROSOFT_WATCH: 'none' }
  simulated = await openSimulated({ canary: 'CANARY-', environment })
  world = simulated.world
})
afterAll(() => simulated.close())
beforeEach(async () => {
  await control('/reset', {})
})

const control: Simulated['control'] = (path, body) => simulated.control(path, body)

interface Seen {
  tokenRequests: Record<string, number>
  apiRequests: { path: string; headers: string[] }[]
}
const seenAt = async (provider: string): Promise<Seen> => {
  const state = ((await control('/state')) as Record<string, Seen>)[provider]
  if (state === undefined) throw new Error(`no simulator of ${provider}`)
  return state
}

const service = () => ({ 'x-service-token': world.serviceToken })
describe.each([
  ['microsoft', 'adele@contoso.test', 'graph/v1.0/me', '/v1.0/me'],
  ['google', 'gita@flow.test', 'gmail/users/me/profile', '/gmail/v1/users/me/profile'],
])('the proxy to %s', (provider, account, path, upstreamPath) => {
  let id: string
  beforeAll(async () => {
    id = await simulated.connect(await simulated.newUser(), provider, account)
  })
  const call = (rest: string): Promise<Answer> =>
    ask(world.internalPort, { path: `/internal/connections/${id}/proxy/${rest}`, headers: service() })

  test('T38 answers with the account of the connection', async () => {
    const answer = await call(path)
    expect([answer.status, answer.text.includes(account)]).toEqual([200, true])
    const calls = (await seenAt(provider)).apiRequests.filter((one) => one.path.startsWith(upstreamPath))
    expect(calls).toHaveLength(1)
    expect(calls[0]?.headers).not.toContain('x-service-token')
  })

  test('T38 no hostile path reaches it', async () => {
    const calls = async () => (await seenAt(provider)).apiRequests.length
    const before = await calls()
    const api = path.split('/')[0] ?? ''
    for (const hostile of HOSTILE) {
      const target = `/internal/connections/${id}/proxy/${hostile.replaceAll('gmail', api)}`
      const { status } = await raw(
        world.internalPort,
        `GET ${target} HTTP/1.1\r\nhost: x\r\nx-service-token: ${world.serviceToken}\r\nconnection: close\r\n\r\n`,
      )
      expect([hostile, status]).toEqual([hostile, 400])
    }
    expect(await calls()).toBe(before)
  })

  test('RE-09 a token that is over at the provider: one refresh, one repeat', async () => {
    const before = (await seenAt(provider)).tokenRequests.refresh_token ?? 0
    await control('/clock', { advanceMs: 2 * 3_600_000 })
    try {
      expect((await call(path)).status).toBe(200)
      expect(((await seenAt(provider)).tokenRequests.refresh_token ?? 0) - before).toBe(1)
      expect((await call(path)).status).toBe(200)
      expect(((await seenAt(provider)).tokenRequests.refresh_token ?? 0) - before).toBe(1)
    } finally {
      await control('/clock', { offsetMs: 0 })
    }
  })

  test('a throttled call is passed on with its Retry-After', async () => {
    const apiError = { status: 429, body: { error: 'slow down' }, headers: { 'retry-after': '42' }, times: 1 }
    await control('/faults', { provider, apiError })
    const answer = await call(path)
    expect([answer.status, answer.headers['retry-after']]).toEqual([429, '42'])
    expect((await call(path)).status).toBe(200)
  })
})
