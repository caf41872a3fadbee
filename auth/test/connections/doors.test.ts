import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callerOfSession } from '../../src/connections/sessions.ts'
import { connectionRoutes } from '../../src/http/connection-routes.ts'
import { buildInternalServer } from '../../src/http/internal-server.ts'
import { oauthRoutes } from '../../src/http/oauth-routes.ts'
import { sessionRoutes } from '../../src/http/session-routes.ts'
import { admissionOf } from '../http/admission-ground.ts'
import { bindingOf, type Ground, granted, openGround } from './ground.ts'

const SERVICE_SECRET = 'service secret of the doors test, long'

describe('the doors of connecting', () => {
  let g: Ground
  let app: FastifyInstance
  let origin: string
  beforeAll(async () => {
    g = await openGround()
    const needs = { ...g.needs, platformJwt: undefined, local: true, providers: [g.microsoft, g.google] }
    app = await buildInternalServer({
      routes: [...sessionRoutes(needs), ...oauthRoutes(needs), ...connectionRoutes(needs)],
      version: '0.0.0',
      admission: admissionOf({
        serviceSecret: SERVICE_SECRET,
        session: (token) => callerOfSession(needs, token),
        metrics: g.metrics,
        log: g.log,
      }),
      log: g.log,
    })
    origin = await app.listen({ port: 0, host: '127.0.0.1' })
  })
  afterAll(async () => {
    await app.close()
    await g.close()
  })
  beforeEach(() => g.clear())

  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, body?: object, session?: string) => {
    const response = await fetch(`${origin}${url}`, {
      method,
      headers: {
        'x-service-token': SERVICE_SECRET,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(session === undefined ? {} : { 'x-session-token': session }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
  }
  const signIn = async (email: string) => {
    const link = await call('POST', '/internal/signin-links', { email, role: 'user' })
    const begun = await call('POST', '/internal/sessions', { signin_token: link.body.token })
    return { token: begun.body.session_token as string, session: begun.body.session }
  }
  const ticketOf = async (authUrl: string) => {
    const state = new URL(authUrl).searchParams.get('state') ?? ''
    const answer = await g.callback('google', [
      ['code', 'c'],
      ['state', state],
    ])
    return answer.headers.location?.split('#ticket=')[1] ?? ''
  }

  test('the whole way: link, session, create-state, callback, complete, list, disconnect, sign out', async () => {
    const { token, session } = await signIn('alice@example.com')
    expect(session).toEqual({
      user_id: expect.any(String),
      email: 'alice@example.com',
      name: null,
      role: 'user',
      family_id: expect.stringMatching(/^fam_/),
      expires_at: expect.any(String),
    })
    expect(await call('GET', '/internal/sessions/current', undefined, token)).toEqual({
      status: 200,
      body: session,
    })
    const session_binding = bindingOf('a')
    const begun = await call('POST', '/internal/oauth/create-state', {
      user_id: session.user_id,
      provider: 'google',
      session_binding,
    })
    expect(begun).toMatchObject({ status: 200, body: { status: 'ok', state: expect.any(String) } })
    const ticket = await ticketOf(begun.body.authUrl)
    const request = { ticket, user_id: session.user_id, session_binding }
    const completed = await call('POST', '/internal/oauth/complete', request)
    expect(completed).toMatchObject({
      status: 200,
      body: {
        connection: {
          provider: 'google',
          account_label: 'bob@example.com',
          status: 'active',
          subscriptions: [{ kind: 'mail', state: 'wanted', expires_at: null, last_notification_at: null }],
        },
      },
    })
    expect(await call('POST', '/internal/oauth/complete', request)).toEqual(completed)
    const list = await call('GET', '/internal/connections', undefined, token)
    expect(list.body.items).toEqual([completed.body.connection])
    const path = `/internal/connections/${completed.body.connection.id}`
    const mallory = await signIn('mallory@example.com')
    expect((await call('DELETE', path, undefined, mallory.token)).status).toBe(404)
    expect((await call('GET', '/internal/connections', undefined, mallory.token)).body.items).toEqual([])
    expect((await call('DELETE', path, undefined, token)).status).toBe(200)
    expect((await call('DELETE', '/internal/sessions/current', undefined, token)).status).toBe(204)
    expect((await call('GET', '/internal/connections', undefined, token)).status).toBe(401)
  })

  test('OA-01 OA-04 every refusal of complete is one identical 409, and 401 without a session', async () => {
    const { session } = await signIn('alice@example.com')
    const other = await signIn('bob@example.com')
    const session_binding = bindingOf('a')
    const ticket = async () => {
      const begun = await call('POST', '/internal/oauth/create-state', {
        user_id: session.user_id,
        provider: 'google',
        session_binding,
      })
      return ticketOf(begun.body.authUrl)
    }
    const mine = { user_id: session.user_id, session_binding }
    const late = await ticket()
    await g.wait(121)
    const refusals = [
      await call('POST', '/internal/oauth/complete', { ticket: late, ...mine }),
      await call('POST', '/internal/oauth/complete', {
        ticket: await ticket(),
        ...mine,
        user_id: other.session.user_id,
      }),
      await call('POST', '/internal/oauth/complete', {
        ticket: await ticket(),
        ...mine,
        session_binding: bindingOf('b'),
      }),
      await call('POST', '/internal/oauth/complete', { ticket: 'unknown', ...mine }),
      await call('POST', '/internal/oauth/complete', { ticket: '', ...mine }),
      await call('POST', '/internal/oauth/complete', { ticket: late, ...mine }),
    ]
    for (const refusal of refusals) expect(refusal).toEqual(refusals[0])
    expect(refusals[0]).toMatchObject({ status: 409, body: { error: 'flow_refused' } })
    expect(await call('POST', '/internal/oauth/complete', { ticket: await ticket() })).toMatchObject({
      status: 401,
      body: { error: 'sign_in_required' },
    })
    expect(g.google.exchanged).toEqual([])
    g.google.exchangeWith = async () => ({
      kind: 'failed',
      failure: { class: 'permanent', code: 'invalid_grant' },
    })
    expect(await call('POST', '/internal/oauth/complete', { ticket: await ticket(), ...mine })).toMatchObject(
      {
        status: 502,
        body: { error: 'exchange_failed', reason: 'invalid_grant' },
      },
    )
    g.google.exchangeWith = async () => granted()
  })

  test('create-state needs its session binding, and says what is wrong without repeating it', async () => {
    const { session } = await signIn('alice@example.com')
    const good = { user_id: session.user_id, provider: 'google', session_binding: bindingOf('a') }
    const wrong: [number, object][] = [
      [400, { user_id: session.user_id, provider: 'google' }],
      [400, { ...good, session_binding: 'canary' }],
      [400, { ...good, state: 'canary' }],
      [400, { ...good, expires_in: 601 }],
      [400, { ...good, expires_in: 0 }],
      [400, { ...good, expires_in: '600' }],
      [400, { ...good, scopes: ['canary'] }],
      [400, { ...good, scopes: 'mail.read' }],
      [400, { ...good, user_id: 'canary' }],
      [400, { ...good, user_id: "1' or '1'='1" }],
      [400, { ...good, user_id: '\u0000' }],
      [400, { ...good, role: 'canary' }],
      [404, { ...good, provider: 'canary' }],
    ]
    for (const [status, body] of wrong) {
      const answer = await call('POST', '/internal/oauth/create-state', body)
      expect(answer.status, JSON.stringify(body)).toBe(status)
      expect(JSON.stringify(answer.body)).not.toContain('canary')
    }
    for (let i = 0; i < 10; i += 1)
      expect((await call('POST', '/internal/oauth/create-state', good)).status).toBe(200)
    expect(await call('POST', '/internal/oauth/create-state', good)).toMatchObject({
      status: 429,
      body: { error: 'too_many_flows' },
    })
  })

  test('BC-04 sessions begin by one valid proof only', async () => {
    const link = await call('POST', '/internal/signin-links', { email: 'alice@example.com', role: 'user' })
    const wrong: [number, object][] = [
      [400, {}],
      [400, { signin_token: link.body.token, platform_jwt: 'x' }],
      [400, { signin_token: 1 }],
      [400, { signin_token: link.body.token, role: 'admin' }],
      [401, { signin_token: 'x' }],
      [401, { platform_jwt: 'a.b.c' }],
    ]
    for (const [status, body] of wrong)
      expect((await call('POST', '/internal/sessions', body)).status, JSON.stringify(body)).toBe(status)
    expect((await call('POST', '/internal/sessions', { signin_token: link.body.token })).status).toBe(201)
    expect((await call('POST', '/internal/sessions', { signin_token: link.body.token })).status).toBe(401)
    for (const email of ['', 'nobody', 'a@b\u0000c', `${'a'.repeat(300)}@example.com`, 'a b@example.com'])
      expect((await call('POST', '/internal/signin-links', { email, role: 'user' })).status).toBe(400)
    expect((await call('POST', '/internal/signin-links', { email: 'a@b.c', role: 'root' })).status).toBe(400)
  })

  test('the providers in use are listed with their scopes', async () => {
    const { body } = await call('GET', '/internal/providers')
    expect(body.items).toMatchObject([{ id: 'microsoft' }, { id: 'google' }])
    expect(body.items[1].scopes).toEqual([
      { scope: 'mail.read', sentence: 'Read your mail.', default: true, restriction: null },
      { scope: 'files.read', sentence: 'Read your files.', default: false, restriction: null },
    ])
  })

  test('a user id may be an integer, as the platform has it', async () => {
    const alice = await g.user('alice@example.com')
    const begun = await call('POST', '/internal/oauth/create-state', {
      user_id: Number(alice),
      provider: 'google',
      session_binding: Buffer.alloc(32, 1).toString('base64url'),
    })
    expect(begun).toMatchObject({ status: 200, body: { status: 'ok' } })
  })

  test('in production the service token alone begins no session: there is no door for one-time links', () => {
    const paths = (local: boolean) =>
      sessionRoutes({ db: g.db, platformJwt: undefined, local }).map(
        ({ method, path }) => `${method} ${path}`,
      )
    expect(paths(true)).toContain('POST /internal/signin-links')
    expect(paths(false)).toEqual(paths(true).filter((path) => path !== 'POST /internal/signin-links'))
  })
})
