import { createHmac, hkdfSync } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FAMILY, FRESH, SERVICE_SECRET } from './fake-auth.ts'
import { SIGNED_IN, startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())
beforeEach(() => world.auth.reset())

const TICKET = 'ticket-canary-dddddddddddddddddddddddddddddd'
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl'
const lines = () => world.auth.calls.map((call) => call.line)
const key = Buffer.from(hkdfSync('sha256', SERVICE_SECRET, '', 'flovify/session-binding/v1', 32))
const BINDING = createHmac('sha256', key).update(FAMILY).digest('base64url')

describe('beginning', () => {
  test('asks Auth with the person, the scopes and the binding, and answers with the address alone', async () => {
    const answer = await world.ask('POST', '/bff/auth/connect/acme', { scopes: ['mail'] }, SIGNED_IN)
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ authUrl: 'https://login.example/a' })
    expect(world.auth.calls[1]?.body).toEqual({
      user_id: '7',
      provider: 'acme',
      session_binding: BINDING,
      scopes: ['mail'],
    })
  })

  test('needs no body', async () => {
    const answer = await world.ask('POST', '/bff/auth/connect/acme', undefined, SIGNED_IN)
    expect(answer.status).toBe(200)
  })

  test('with the platform cookie alone also starts our session', async () => {
    const answer = await world.ask('POST', '/bff/auth/connect/acme', {}, `session=${JWT}`)
    expect(answer.status).toBe(200)
    expect(lines()).toEqual(['POST /internal/sessions', 'POST /internal/oauth/create-state'])
    expect(answer.headers['set-cookie']?.[0]).toContain(`__Host-session=${FRESH}; Path=/; Secure; HttpOnly`)
  })

  test('with both uses ours and leaves the cookie alone', async () => {
    const answer = await world.ask('POST', '/bff/auth/connect/acme', {}, `${SIGNED_IN}; session=${JWT}`)
    expect(answer.status).toBe(200)
    expect(lines()).not.toContain('POST /internal/sessions')
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  test.each([
    undefined,
    'session=not-a-jwt',
    `session=${JWT}; session=${JWT}x`,
    `__Host-session=${'d'.repeat(43)}`,
  ])('with cookie %s begins nothing', async (cookie) => {
    expect((await world.ask('POST', '/bff/auth/connect/acme', {}, cookie)).status).toBe(401)
    expect(lines()).not.toContain('POST /internal/oauth/create-state')
  })

  test('of a provider that Auth does not know is the answer of Auth', async () => {
    world.auth.answers.set('POST /internal/oauth/create-state', () => ({
      status: 404,
      body: { error: 'unknown_provider', message: 'This provider is not configured.' },
    }))
    const answer = await world.ask('POST', '/bff/auth/connect/nobody', {}, SIGNED_IN)
    expect([answer.status, answer.json().error]).toEqual([404, 'unknown_provider'])
  })
})

describe('finishing', () => {
  test('OA-01 sends the ticket with the person and the binding of this very session', async () => {
    const answer = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET }, SIGNED_IN)
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ connection: { id: 'con_a' } })
    expect(world.auth.calls[1]?.body).toEqual({ ticket: TICKET, user_id: '7', session_binding: BINDING })
  })

  test.each([undefined, `__Host-session=${'d'.repeat(43)}`, `session=${JWT}`])(
    'OA-01 without a live session (%s) the ticket goes up alone and is burned there: 401',
    async (cookie) => {
      const answer = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET }, cookie)
      expect([answer.status, answer.json().error]).toEqual([401, 'sign_in_required'])
      const complete = world.auth.calls.find((call) => call.line === 'POST /internal/oauth/complete')
      expect(complete?.body).toEqual({ ticket: TICKET })
    },
  )

  test('a success that Auth should never give without a session is not passed on', async () => {
    world.auth.answers.set('POST /internal/oauth/complete', () => ({
      status: 200,
      body: { connection: { account_label: 'victim@example.com' } },
    }))
    const answer = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET })
    expect(answer.status).toBe(401)
    expect(answer.text).not.toContain('victim')
  })

  test('a session that cannot be judged now burns nothing: 503, the page can repeat it', async () => {
    world.auth.answers.set('GET /internal/sessions/current', () => ({ status: 500 }))
    const answer = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET }, SIGNED_IN)
    expect(answer.status).toBe(503)
    expect(lines()).not.toContain('POST /internal/oauth/complete')
  })

  test('a refused flow and a failed exchange keep their code and reason', async () => {
    const refuse = (status: number, body: object) =>
      world.auth.answers.set('POST /internal/oauth/complete', () => ({ status, body }))
    refuse(409, { error: 'flow_refused', message: 'Connect again.' })
    const refused = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET }, SIGNED_IN)
    expect([refused.status, refused.json()]).toEqual([
      409,
      { error: 'flow_refused', message: 'Connect again.' },
    ])
    refuse(502, { error: 'exchange_failed', message: 'Connect again.', reason: 'invalid_grant' })
    const failed = await world.ask('POST', '/bff/auth/finish', { ticket: TICKET }, SIGNED_IN)
    expect([failed.status, failed.json().reason]).toEqual([502, 'invalid_grant'])
  })
})
