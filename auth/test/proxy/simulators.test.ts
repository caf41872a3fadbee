/** The proxy before the simulated providers: Graph and Gmail, with tokens that came by the whole way of connecting. */
import { randomBytes } from 'node:crypto'
import { type Simulators, startSimulators } from '@flovify/simulators'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { type Answer, ask, askJson, json, raw } from '../http/wire.ts'
import { openWorld, type World } from '../world.ts'
import { HOSTILE } from './hostile-paths.ts'

let simulators: Simulators
let world: World

beforeAll(async () => {
  const app = (provider: string) => ({
    port: 0,
    clientId: `client-of-${provider}`,
    clientSecret: `secret-of-${provider}`,
    redirectUris: [`http://127.0.0.1:8000/webhook/oauth/${provider}/callback`],
  })
  simulators = await startSimulators({
    controlPort: 0,
    canary: 'CANARY-',
    microsoft: app('microsoft'),
    google: {
      ...app('google'),
      pubsub: {
        topic: 'projects/project/topics/gmail',
        subscription: 'projects/project/subscriptions/gmail',
        audience: 'https://webhooks.example.com/webhook/events/google',
        serviceAccount: 'push@project.iam.gserviceaccount.com',
        pushUrl: 'http://127.0.0.1:9/webhook/events/google',
      },
    },
  })
  world = await openWorld({
    environment: {
      MICROSOFT_LOGIN_URL: simulators.microsoftUrl,
      MICROSOFT_GRAPH_URL: simulators.microsoftUrl,
      GOOGLE_ACCOUNTS_URL: simulators.googleUrl,
      GOOGLE_TOKEN_URL: simulators.googleUrl,
      GOOGLE_API_URL: simulators.googleUrl,
      GMAIL_API_URL: simulators.googleUrl,
      // what Auth asks for itself would be counted here
      GOOGLE_WATCH: 'none',
      MICROSOFT_WATCH: 'none',
    },
  })
})
afterAll(async () => {
  await world.close()
  await simulators.close()
})
beforeEach(async () => {
  await control('/reset', {})
})

async function control(path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${simulators.controlUrl}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${simulators.controlToken}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return response.json()
}

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
const post = (path: string, body: unknown) => askJson(world.internalPort, 'POST', path, service(), body)

/** State, consent, callback, ticket, exchange. */
async function connect(provider: string, account: string): Promise<string> {
  const user = await world.db.one<{ id: string }>(
    sql`insert into auth.users (email) values (${`${provider}@example.com`}) returning id::text id`,
  )
  const begin = { user_id: user?.id, provider, session_binding: randomBytes(32).toString('base64url') }
  const { authUrl } = json(await post('/internal/oauth/create-state', begin)) as { authUrl: string }
  const back = (await control('/authorize', { authUrl, account })) as {
    method: string
    url: string
    contentType?: string
    body?: string
  }
  const { pathname, search } = new URL(back.url)
  const answer = await ask(world.publicPort, {
    method: back.method,
    path: pathname + search,
    ...(back.body === undefined
      ? {}
      : { body: back.body, headers: { 'content-type': back.contentType ?? '' } }),
  })
  const ticket = /#ticket=(.+)$/.exec(String(answer.headers.location))?.[1]
  const { user_id, session_binding } = begin
  const done = json(await post('/internal/oauth/complete', { ticket, user_id, session_binding }))
  return (done as { connection: { id: string } }).connection.id
}

describe.each([
  ['microsoft', 'adele@contoso.test', 'graph/v1.0/me', '/v1.0/me'],
  ['google', 'gita@flow.test', 'gmail/users/me/profile', '/gmail/v1/users/me/profile'],
])('the proxy to %s', (provider, account, path, upstreamPath) => {
  let id: string
  beforeAll(async () => {
    id = await connect(provider, account)
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
