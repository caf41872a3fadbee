import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { listConnections, viewConnection } from '../../src/connections/list.ts'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { bindingOf, type Ground, granted, openGround } from './ground.ts'

describe('a connection', () => {
  let g: Ground
  let alice: string
  let bob: string
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    alice = await g.user('alice@example.com')
    bob = await g.user('bob@example.com')
  })

  const connect = async (userId: string, exchange: Parameters<typeof granted>[0] = {}) => {
    const { ticket } = await g.ticketFor(userId)
    g.google.exchangeWith = async () => granted(exchange)
    const outcome = await completeFlow(g.needs, {
      ticket,
      userId,
      sessionBinding: bindingOf(`session of ${userId}`),
    })
    if (outcome.kind !== 'connected') throw new Error(outcome.kind)
    return outcome.connectionId
  }
  const user = (userId: string) => ({ userId, role: 'user' }) as const
  const admin = { userId: '0', role: 'admin' } as const
  const row = (id: string) =>
    g.db.one<Record<string, unknown>>(
      sql`select status, data_key, access_token, refresh_token from auth.oauth_tokens where id = ${id}`,
    )

  test('IA-05 is seen by its owner and by an admin, by nobody else', async () => {
    const mine = await connect(alice)
    const his = await connect(bob)
    const ids = async (viewer: Parameters<typeof listConnections>[1]) =>
      (await listConnections(g.needs, viewer)).map(({ id }) => id)
    expect(await ids(user(alice))).toEqual([mine])
    expect(await ids(user(bob))).toEqual([his])
    expect((await ids(admin)).sort()).toEqual([mine, his].sort())
    expect(await viewConnection(g.needs, his, user(alice))).toBeUndefined()
    expect(Object.keys((await viewConnection(g.needs, his, admin)) ?? {})).not.toContain('data_key')
  })

  test('IA-05 is not disconnected by another user: unknown, and nothing changes', async () => {
    const his = await connect(bob)
    expect(await disconnect(g.needs, his, user(alice))).toEqual({ kind: 'unknown' })
    expect(await disconnect(g.needs, 'con_unknown', user(alice))).toEqual({ kind: 'unknown' })
    expect(await row(his)).toMatchObject({ status: 'active' })
    expect(await disconnect(g.needs, his, admin)).toMatchObject({ kind: 'disconnected' })
  })

  test('OA-13 is gone for us the moment it is disconnected: no token, no refresh, no subscription', async () => {
    const id = await connect(alice)
    g.nudged.length = 0
    expect(await accessToken(g.needs, id, 60)).toMatchObject({ kind: 'token' })
    expect(await disconnect(g.needs, id, user(alice))).toEqual({
      kind: 'disconnected',
      status: 'revoked',
      atProvider: { kind: 'withdraw_yourself', url: 'https://google.example/consents' },
    })
    // nothing is left to do at this provider: its subscription was never made there, and it has no revocation
    expect(await row(id)).toEqual({
      status: 'revoked',
      data_key: null,
      access_token: null,
      refresh_token: null,
    })
    expect(await accessToken(g.needs, id, 0)).toMatchObject({ kind: 'unusable', status: 'revoked' })
    expect(await viewConnection(g.needs, id, user(alice))).toMatchObject({
      status: 'revoked',
      subscriptions: [{ state: 'stopped' }],
    })
    const due = await g.db.rows(sql`select 1 from auth.subscription_renewals where due_at is not null`)
    expect(due).toHaveLength(0)
    expect(await g.db.rows(sql`select 1 from auth.refreshes`)).toHaveLength(0)
    const [event] = await g.db.rows<{ data: Buffer; owner_id: string }>(
      sql`select data, owner_id from auth.events where type like '%revoked'`,
    )
    expect(JSON.parse(event?.data.toString() ?? '{}')).toMatchObject({
      data: { by: 'user', status: 'revoked', previousStatus: 'active' },
    })
    expect(event?.owner_id).toBe(alice)
    // a second click changes nothing and records nothing
    expect(await disconnect(g.needs, id, user(alice))).toMatchObject({ kind: 'disconnected' })
    expect(await g.audited('connection.revoked')).toHaveLength(1)
  })

  test('its token is given while it is valid for the asked time', async () => {
    const id = await connect(alice, { expiresAt: new Date(Date.now() + 100_000), accessToken: 'the-token' })
    const outcome = await accessToken(g.needs, id, 60)
    expect(outcome.kind === 'token' && outcome.accessToken.reveal()).toBe('the-token')
    // a token that never lives so long is not refreshed at each read, only when a tenth of its life is over
    expect(await accessToken(g.needs, id, 300)).toMatchObject({ kind: 'token' })
    await g.wait(30)
    expect(await accessToken(g.needs, id, 300)).toMatchObject({
      kind: 'expired',
      stillValid: { kind: 'token' },
    })
    await g.wait(90)
    expect(await accessToken(g.needs, id, 0)).toMatchObject({ kind: 'expired', stillValid: undefined })
    expect(await accessToken(g.needs, 'con_unknown', 0)).toEqual({ kind: 'unknown' })
  })

  test('TV-02 a token that was swapped with another row is not given, and the connection says so', async () => {
    const mine = await connect(alice)
    const his = await connect(bob)
    await g.db.rows(sql`
      update auth.oauth_tokens t set data_key = o.data_key, access_token = o.access_token
        from auth.oauth_tokens o where t.id = ${mine} and o.id = ${his}`)
    expect(await accessToken(g.needs, mine, 0)).toMatchObject({ kind: 'unusable', status: 'vault_error' })
    expect(await row(mine)).toMatchObject({ status: 'vault_error' })
    expect(await g.audited('connection.vault_error')).toMatchObject([{ subject: mine }])
    expect(await accessToken(g.needs, his, 0)).toMatchObject({ kind: 'token' })
  })

  test('outlives its user without a reference, still owned', async () => {
    const id = await connect(alice)
    await g.db.rows(sql`delete from auth.users where id::text = ${alice}`)
    expect(await viewConnection(g.needs, id, admin)).toMatchObject({ id, user_id: null })
  })
})
