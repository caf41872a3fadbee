/** The doors to tokens of the composed service, three of it on one database, against the simulated providers. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { until } from '../http/people.ts'
import { ask, json } from '../http/wire.ts'
import { openSimulated, type Simulated } from '../simulated.ts'
import type { World } from '../world.ts'

const CANARY = 'CANARY-'
let simulated: Simulated
let world: World

beforeAll(async () => {
  simulated = await openSimulated({ instances: 3, canary: CANARY })
  world = simulated.world
})
afterAll(() => simulated.close())
beforeEach(async () => {
  await control('/reset', {})
})

const control: Simulated['control'] = (path, body) => simulated.control(path, body)
const post: Simulated['post'] = (path, body, instance) => simulated.post(path, body, instance)
const connect: Simulated['connect'] = (user, provider, account) => simulated.connect(user, provider, account)

const refreshesAt = async (provider: string): Promise<number> => {
  const state = (await control('/state')) as Record<string, { tokenRequests: Record<string, number> }>
  return state[provider]?.tokenRequests.refresh_token ?? 0
}

const service = () => ({ 'x-service-token': world.serviceToken })
const expireIn = (id: string, seconds: number) =>
  world.db.rows(sql`
    update auth.oauth_tokens
       set expires_at = auth.clock() + make_interval(secs => ${seconds}), issued_at = auth.clock() - interval '1 hour'
     where id = ${id}`)

const tokenOf = (id: string, instance = 0, body: unknown = {}) =>
  post(`/internal/connections/${id}/token`, body, instance)

describe.each([
  ['google', 'gita@flow.test'],
  ['microsoft', 'adele@contoso.test'],
])('tokens of %s', (provider, account) => {
  let user: string
  let id: string
  beforeAll(async () => {
    user = await simulated.newUser()
    id = await connect(user, provider, account)
  })

  test('RE-09 F20 3 instances with 30 callers each over HTTP: exactly 1 request at the provider, all answered alike', async () => {
    await control('/faults', { provider, tokenDelayMs: 300 })
    await expireIn(id, 20)
    const answers = await Promise.all(
      [0, 1, 2].flatMap((instance) => Array.from({ length: 30 }, () => tokenOf(id, instance))),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await refreshesAt(provider)).toBe(1)
    expect(
      new Set(answers.map((answer) => (json(answer) as { access_token: string }).access_token)).size,
    ).toBe(1)
  })

  test('IA-07 TV-11 the answer is access token, expiry and scopes; never stored by caches; audited without it', async () => {
    const answer = await tokenOf(id)
    expect(answer.headers['cache-control']).toBe('no-store')
    const body = json(answer) as { access_token: string; expires_at: string; scopes: string[] }
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_at', 'scopes'])
    expect(body.scopes.length).toBeGreaterThan(3)
    expect(new Date(body.expires_at).getTime()).toBeGreaterThan(Date.now() + 60_000)
    const issued = (await control('/issued')) as { issued: { kind: string; value: string }[] }
    const refreshTokens = issued.issued.filter(({ kind }) => /refresh/.test(kind))
    expect(refreshTokens.length).toBeGreaterThan(0)
    for (const { value } of refreshTokens) expect(answer.text).not.toContain(value)
    const audit = await world.db.rows<{ actor: string; text: string }>(sql`
      select actor, detail::text text from auth.audit where action = 'token.read' and subject = ${id}`)
    expect(audit.length).toBeGreaterThanOrEqual(91)
    expect(new Set(audit.map(({ actor }) => actor))).toEqual(new Set(['service']))
    for (const { text } of audit) expect(text).not.toContain(CANARY)
    expect(world.lines.join('')).not.toContain(CANARY)
  })

  test('F13 the provider down: a token that is still valid is served with its expiry, one that is over is 503 with Retry-After, then it goes on', async () => {
    await control('/faults', { provider, down: '503' })
    await expireIn(id, 30)
    const valid = await tokenOf(id, 0, { min_valid_seconds: 3000 })
    expect(valid.status).toBe(200)
    const { expires_at } = json(valid) as { expires_at: string }
    expect(new Date(expires_at).getTime()).toBeLessThan(Date.now() + 31_000)
    await expireIn(id, -1)
    const over = await tokenOf(id, 1)
    expect(over.status).toBe(503)
    expect(Number(over.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    expect(json(over)).toMatchObject({ error: 'provider_unavailable' })
    await control('/faults', { provider, down: false })
    await until('served again', async () => (await tokenOf(id, 2)).status === 200)
  })

  test('RE-11 F16 the connection breaks before the answer: the next refresh works', async () => {
    await control('/faults', { provider, tokenDrop: 1 })
    await expireIn(id, -1)
    await until('served again', async () => (await tokenOf(id)).status === 200)
    const row = await world.db.one<{ status: string }>(
      sql`select status from auth.oauth_tokens where id = ${id}`,
    )
    expect(['active', 'partial']).toContain(row?.status)
  })

  test('found by user and provider; several are told and never guessed between', async () => {
    const find = (query: string) =>
      ask(world.internalPort, { path: `/internal/oauth/token?${query}`, headers: service() })
    const query = `user_id=${user}&provider=${provider}`
    const one = await find(`${query}&min_valid_seconds=10`)
    expect(one.status).toBe(200)
    expect(one.headers['cache-control']).toBe('no-store')
    expect((await find(`user_id=${user}&provider=slack`)).status).toBe(404)
    expect((await find(`user_id=999999&provider=${provider}`)).status).toBe(404)
    const second = await connect(
      user,
      provider,
      provider === 'google' ? 'hugo@flow.test' : 'bruno@contoso.test',
    )
    const several = await find(query)
    expect(several.status).toBe(409)
    expect(json(several)).toMatchObject({ error: 'several_connections', connection_ids: [id, second] })
    expect(several.text).not.toContain('access_token')
  })

  test('F14 consent withdrawn at the provider: 409 reauth_required with its reason, one event, and no more requests', async () => {
    await control('/revoke-account', { provider, account })
    await expireIn(id, -1)
    const answers = await Promise.all([0, 1, 2].map((instance) => tokenOf(id, instance)))
    for (const answer of answers) {
      expect(answer.status).toBe(409)
      expect(json(answer)).toMatchObject({ error: 'reauth_required', reason: expect.stringMatching(/^\w+$/) })
    }
    expect(await refreshesAt(provider)).toBe(1)
    const events = await world.db.rows(
      sql`select 1 from auth.events where connection_id = ${id} and type = 'ca.flovify.connection.v1.reauth_required'`,
    )
    expect(events).toHaveLength(1)
    // connecting again brings it back as the same connection
    expect(await connect(user, provider, account)).toBe(id)
    expect((await tokenOf(id)).status).toBe(200)
  })
})

describe('the doors', () => {
  test('an unknown connection is 404; a token needs the service token', async () => {
    expect((await tokenOf('con_unknown')).status).toBe(404)
    const nobody = await ask(world.internalPort, {
      method: 'POST',
      path: '/internal/connections/con_unknown/token',
    })
    expect(nobody.status).toBe(401)
  })

  test('without a body it is 60 s; what is no whole number from 0 to 3000, and fields that nobody knows: 400', async () => {
    const path = '/internal/connections/con_unknown/token'
    expect((await ask(world.internalPort, { method: 'POST', path, headers: service() })).status).toBe(404)
    for (const body of [
      { min_valid_seconds: -1 },
      { min_valid_seconds: 3001 },
      { min_valid_seconds: 1.5 },
      { min_valid_seconds: '60' },
      { min_valid_seconds: null },
      { min_valid_seconds: 60, refresh: true },
      { connection: 'x' },
      [],
      'x',
    ])
      expect([body, (await post(path, body)).status]).toEqual([body, 400])
  })

  test('the refreshes of the composed service are due rows that its worker works on', async () => {
    const user = await simulated.newUser()
    const id = await connect(user, 'google', 'hugo@flow.test')
    await expireIn(id, 500)
    await world.db.rows(sql`update auth.refreshes set due_at = auth.clock() where id = ${id}`)
    await until('refreshed ahead', async () => {
      const row = await world.db.one<{ version: number }>(
        sql`select version from auth.oauth_tokens where id = ${id}`,
      )
      return row?.version === 2
    })
    expect(await refreshesAt('google')).toBe(1)
  })

  test('a subscription whose create comes late gets a refreshed token', async () => {
    const user = await simulated.newUser()
    const id = await connect(user, 'google', 'gita@flow.test')
    // the first create must be over, or it would settle what this test arranges
    await until('active at first', async () => {
      const row = await world.db.one<{ state: string }>(
        sql`select state from auth.subscriptions where connection_id = ${id}`,
      )
      return row?.state === 'active'
    })
    await expireIn(id, -1)
    // first the state: a worker that meets a due row of a live subscription settles it
    await world.db.rows(sql`update auth.subscriptions set state = 'wanted' where connection_id = ${id}`)
    await world.db.rows(sql`
      update auth.subscription_renewals set due_at = auth.clock(), lease_until = null
       where id in (select id from auth.subscriptions where connection_id = ${id})`)
    await until('active', async () => {
      const row = await world.db.one<{ state: string; version: number }>(sql`
        select s.state, o.version from auth.subscriptions s join auth.oauth_tokens o on o.id = s.connection_id
         where o.id = ${id}`)
      return row?.state === 'active' && row.version >= 2
    })
  })
})
