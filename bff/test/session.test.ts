import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FAMILY, FRESH, LIVE, SESSION } from './fake-auth.ts'
import { SIGNED_IN, startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())
beforeEach(() => world.auth.reset())

const TOKEN = 'one-time-link-canary-cccccccccccccccccccccc'
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl'
const { family_id: _, ...VIEW } = SESSION
const lines = () => world.auth.calls.map((call) => call.line)
const refuseSessions = () =>
  world.auth.answers.set('POST /internal/sessions', () => ({
    status: 401,
    body: { error: 'signin_refused', message: 'No.' },
  }))

describe('signing in', () => {
  test('BC-02 the cookie is __Host-, Secure, HttpOnly, SameSite=Strict, Path=/ and has no Domain', async () => {
    const answer = await world.ask('POST', '/bff/session', { token: TOKEN })
    expect(answer.status).toBe(201)
    expect(answer.headers['set-cookie']).toEqual([
      `__Host-session=${FRESH}; Path=/; Secure; HttpOnly; SameSite=Strict; Expires=Tue, 01 Jan 2030 00:00:00 GMT`,
    ])
    expect(answer.json()).toEqual(VIEW)
    expect(world.auth.calls[0]?.body).toEqual({ signin_token: TOKEN })
  })

  test('a link never replaces a running session: 409 before the link is redeemed', async () => {
    const answer = await world.ask('POST', '/bff/session', { token: TOKEN }, SIGNED_IN)
    expect(answer.status).toBe(409)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(lines()).toEqual(['GET /internal/sessions/current'])
  })

  test('a cookie whose session has ended does not stand in the way', async () => {
    const answer = await world.ask(
      'POST',
      '/bff/session',
      { token: TOKEN },
      `__Host-session=${'d'.repeat(43)}`,
    )
    expect(answer.status).toBe(201)
  })

  test('a used or wrong link is 401 with what to do, and no cookie', async () => {
    refuseSessions()
    const answer = await world.ask('POST', '/bff/session', { token: TOKEN })
    expect(answer.status).toBe(401)
    expect(answer.json()).toMatchObject({ error: 'link_invalid' })
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  test('the platform cookie starts our session when the page asks for it', async () => {
    const answer = await world.ask('POST', '/bff/session', { platform: true }, `session=${JWT}`)
    expect(answer.status).toBe(201)
    expect(world.auth.calls[0]?.body).toEqual({ platform_jwt: JWT })
    expect(answer.headers['set-cookie']?.[0]).toContain(`__Host-session=${FRESH}`)
  })

  test('without or with a refused platform cookie there is no session', async () => {
    expect((await world.ask('POST', '/bff/session', { platform: true })).status).toBe(401)
    expect(lines()).toEqual([])
    refuseSessions()
    expect((await world.ask('POST', '/bff/session', { platform: true }, `session=${JWT}`)).status).toBe(401)
  })
})

describe('the session', () => {
  test('is shown without its family', async () => {
    const answer = await world.ask('GET', '/bff/session', undefined, SIGNED_IN)
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual(VIEW)
    expect(answer.text).not.toContain(FAMILY)
  })

  test('is 401 without a cookie and after it has ended, and says whether the platform could start one', async () => {
    const none = await world.ask('GET', '/bff/session')
    expect([none.status, none.json().platform]).toEqual([401, false])
    expect(lines()).toEqual([])
    const ended = await world.ask(
      'GET',
      '/bff/session',
      undefined,
      `__Host-session=${'d'.repeat(43)}; session=${JWT}`,
    )
    expect([ended.status, ended.json().platform]).toEqual([401, true])
  })

  test.each([
    ['two different values', `${SIGNED_IN}; __Host-session=${'x'.repeat(43)}`],
    ['a value of another form', '__Host-session=../../x'],
    ['another case of the name', `__host-session=${LIVE}`],
    ['the name without prefix', `session=${LIVE}`],
    ['an empty value', '__Host-session='],
  ])('is not taken from %s', async (_case, cookie) => {
    expect((await world.ask('GET', '/bff/connections', undefined, cookie)).status).toBe(401)
    expect(lines()).toEqual([])
  })

  test('may be sent twice with the same value and among other cookies', async () => {
    const cookie = `a=b; ${SIGNED_IN}; junk; =x; ${SIGNED_IN}`
    expect((await world.ask('GET', '/bff/connections', undefined, cookie)).status).toBe(200)
  })

  test('ends: upstream first, then the cookie', async () => {
    const answer = await world.ask('DELETE', '/bff/session', undefined, SIGNED_IN)
    expect(answer.status).toBe(204)
    expect(lines()).toEqual(['DELETE /internal/sessions/current'])
    expect(answer.headers['set-cookie']).toEqual([
      '__Host-session=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0',
    ])
  })

  test('that Auth could not end keeps its cookie, so that signing out can be repeated', async () => {
    world.auth.answers.set('DELETE /internal/sessions/current', () => ({ status: 500 }))
    const answer = await world.ask('DELETE', '/bff/session', undefined, SIGNED_IN)
    expect(answer.status).toBe(503)
    expect(answer.headers['set-cookie']).toBeUndefined()
  })
})

describe('BC-05 what Auth no longer knows', () => {
  test.each(['/bff/providers', '/bff/connections', '/bff/events', '/bff/events/evt_a'])(
    'BC-05 %s is 401 without a session and with an ended one',
    async (path) => {
      expect((await world.ask('GET', path)).status).toBe(401)
      expect(lines()).toEqual([])
      expect((await world.ask('GET', path, undefined, `__Host-session=${'d'.repeat(43)}`)).status).toBe(401)
      expect((await world.ask('GET', path, undefined, SIGNED_IN)).status).toBe(200)
    },
  )
})
