/** Google's security event tokens against protocols/google.md §1.9. */
import { createHash } from 'node:crypto'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  canary,
  connectGoogle,
  control,
  googleClientId,
  type Json,
  type Receiver,
  start,
  startReceiver,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
const gita = 'gita@flow.test'
const sub = '104857600000000000001'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
})
beforeEach(async () => {
  await control(simulators).post('/reset', { redeliveries: true })
  receiver.received.length = 0
  receiver.answer = { status: 202 }
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const emit = (event: string, more: Record<string, unknown> = {}) =>
  control(simulators).post('/security-event', { provider: 'google', account: gita, event, ...more })

async function received(event: string, more: Record<string, unknown> = {}): Promise<Json> {
  receiver.received.length = 0
  expect((await emit(event, more)).status).toBe(200)
  const claims: Json = decodeJwt(receiver.received[0]?.body ?? '')
  const [[type, content]] = Object.entries(claims.events) as [[string, Json]]
  return { claims, type, content }
}

test('the body is the token itself, which verifies by the configuration document and has no exp', async () => {
  const { json: configuration } = await call(`${simulators.googleUrl}/.well-known/risc-configuration`)
  expect(configuration.issuer).toBe(simulators.googleUrl)
  const { claims, type, content } = await received('account-disabled', { reason: 'bulk-account' })
  const request = receiver.received[0]
  expect(request?.headers['content-type']).toBe('application/secevent+jwt')
  expect(request?.headers.authorization).toBeUndefined()
  const keys = createRemoteJWKSet(new URL(configuration.jwks_uri))
  await jwtVerify(request?.body ?? '', keys, { audience: googleClientId, issuer: `${configuration.issuer}/` })
  expect(claims).not.toHaveProperty('exp')
  expect(claims.jti).toMatch(/^[0-9a-f-]{36}$/)
  expect(type).toBe('https://schemas.openid.net/secevent/risc/event-type/account-disabled')
  const iss = `${simulators.googleUrl}/`
  expect(content).toEqual({ subject: { subject_type: 'iss-sub', iss, sub }, reason: 'bulk-account' })
})

test('every event has its type and subject, the issuer with or without slash', async () => {
  const types = []
  for (const event of [
    'sessions-revoked',
    'tokens-revoked',
    'account-enabled',
    'account-credential-change-required',
  ]) {
    const { type, content } = await received(event, { issuer: 'plain', subject: 'id_token_claims' })
    const iss = simulators.googleUrl
    expect(content).toEqual({ subject: { subject_type: 'id_token_claims', iss, sub, email: gita } })
    types.push(type.split('/secevent/')[1])
  }
  expect(types).toEqual([
    'risc/event-type/sessions-revoked',
    'oauth/event-type/tokens-revoked',
    'risc/event-type/account-enabled',
    'risc/event-type/account-credential-change-required',
  ])
  expect((await received('verification', { state: 'hello' })).content).toEqual({ state: 'hello' })
})

test('one refresh token is named by its prefix or by its doubled hash', async () => {
  const { refresh_token: token } = await connectGoogle(simulators)
  const prefix = await received('token-revoked')
  expect(prefix.type).toBe('https://schemas.openid.net/secevent/oauth/event-type/token-revoked')
  expect(prefix.content.subject).toMatchObject({
    token_type: 'refresh_token',
    token_identifier_alg: 'prefix',
    token: token.slice(0, 16),
  })
  expect(prefix.content.subject.token.startsWith(canary)).toBe(true)
  const hash = await received('token-revoked', { identifier: 'hash' })
  const sha512 = (data: string | Buffer) => createHash('sha512').update(data).digest()
  expect(hash.content.subject.token).toBe(sha512(sha512(token)).toString('base64'))
})

test('unacknowledged tokens come again with the same jti, refused ones do not', async () => {
  receiver.answer = (_request, count) => ({ status: count < 3 ? 503 : 202 })
  await emit('sessions-revoked')
  await receiver.waitFor(3)
  expect(new Set(receiver.received.map((request) => request.body)).size).toBe(1)
  receiver.received.length = 0
  receiver.answer = { status: 400 }
  await emit('sessions-revoked')
  await new Promise((resolve) => setTimeout(resolve, 400))
  expect(receiver.received).toHaveLength(1)
})

test('forged ones are wrong in what they name, and what can not be meant is refused', async () => {
  expect((await received('sessions-revoked', { forge: 'audience' })).claims.aud).not.toBe(googleClientId)
  expect((await received('sessions-revoked', { forge: 'issuer' })).claims.iss).toContain('issuer.invalid')
  const keys = createRemoteJWKSet(new URL(`${simulators.googleUrl}/oauth2/v3/certs`))
  for (const forge of ['key', 'kid', 'algNone', 'HS256']) {
    await received('sessions-revoked', { forge })
    await expect(jwtVerify(receiver.received[0]?.body ?? '', keys)).rejects.toThrow()
  }
  expect((await emit('nonsense')).status).toBe(400)
  expect((await emit('sessions-revoked', { forge: 'nonsense' })).status).toBe(400)
  expect((await emit('sessions-revoked', { url: 'https://example.com/' })).status).toBe(400)
})
