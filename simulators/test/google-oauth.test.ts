/** Google's accounts, tokens and revocation against protocols/google.md §1. */
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  canary,
  clientSecret,
  connectGoogle,
  consent,
  control,
  form,
  gmailScope,
  googleAuthUrl,
  googleClientId,
  googleRedirect,
  type Receiver,
  redeemGoogle,
  start,
  startReceiver,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let offsetMs = 0

const gita = 'gita@flow.test'
const emailScope = 'https://www.googleapis.com/auth/userinfo.email'
const profileScope = 'https://www.googleapis.com/auth/userinfo.profile'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver, { now: () => Date.now() + offsetMs })
})
beforeEach(async () => {
  offsetMs = 0
  await control(simulators).post('/reset', {})
  await control(simulators).post('/revoke-account', { provider: 'google', account: gita })
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

function refresh(token: string) {
  const client = { client_id: googleClientId, client_secret: clientSecret }
  return call(
    `${simulators.googleUrl}/token`,
    form({ ...client, grant_type: 'refresh_token', refresh_token: token }),
  )
}

async function code(more: Record<string, string | undefined> = {}, decision: Record<string, unknown> = {}) {
  const { parameters } = await consent(simulators, googleAuthUrl(simulators, more), gita, decision)
  return parameters.get('code') ?? ''
}

test('discovery names one origin and both challenge methods, and does not declare iss', async () => {
  const { json } = await call(`${simulators.googleUrl}/.well-known/openid-configuration`)
  expect(json.issuer).toBe(simulators.googleUrl)
  expect(json.code_challenge_methods_supported).toEqual(['plain', 'S256'])
  expect(json).not.toHaveProperty('authorization_response_iss_parameter_supported')
  await control(simulators).post('/faults', { provider: 'google', declareIss: true })
  const declared = (await call(`${simulators.googleUrl}/.well-known/openid-configuration`)).json
  expect(declared.authorization_response_iss_parameter_supported).toBe(true)
})

test('a consent comes back with iss and extras, and the code buys tokens whose id token verifies', async () => {
  const callback = await consent(simulators, googleAuthUrl(simulators), gita)
  expect(callback.method).toBe('GET')
  expect([...callback.parameters.keys()]).toEqual([
    'state',
    'iss',
    'code',
    'scope',
    'authuser',
    'hd',
    'prompt',
  ])
  expect(callback.parameters.get('iss')).toBe(simulators.googleUrl)
  const { status, json } = await redeemGoogle(simulators, callback.parameters.get('code') ?? '')
  expect(status).toBe(200)
  expect(json).toMatchObject({ expires_in: 3599, token_type: 'Bearer' })
  expect(json).not.toHaveProperty('refresh_token_expires_in')
  const drive = 'https://www.googleapis.com/auth/drive'
  expect(json.scope.split(' ')).toEqual([drive, gmailScope, emailScope, profileScope, 'openid'])
  for (const value of [callback.parameters.get('code'), json.access_token, json.refresh_token]) {
    expect(value).toMatch(new RegExp(`^${canary}.{43,}`))
  }
  const keys = createRemoteJWKSet(new URL(`${simulators.googleUrl}/oauth2/v3/certs`))
  const { payload } = await jwtVerify(json.id_token, keys, {
    issuer: simulators.googleUrl ?? '',
    audience: googleClientId,
    algorithms: ['RS256'],
  })
  expect(payload).toMatchObject({ email: gita, email_verified: true, nonce: 'nonce-1', hd: 'flow.test' })
})

test('iss can be left out or wrong, for OA-06', async () => {
  const issWith = async (issMode: string) => {
    await control(simulators).post('/faults', { provider: 'google', issMode })
    return (await consent(simulators, googleAuthUrl(simulators), gita)).parameters.get('iss')
  }
  expect(await issWith('off')).toBeNull()
  expect(await issWith('wrong')).toBe('https://issuer.invalid')
  expect(await issWith('on')).toBe(simulators.googleUrl)
})

test('wrong redirect URI, client and scope are dead ends that never reach the callback', async () => {
  for (const [more, text] of [
    [{ redirect_uri: `${googleRedirect}/` }, 'redirect_uri_mismatch'],
    [{ client_id: 'other' }, 'invalid_client'],
    [{ scope: 'made-up' }, 'invalid_scope'],
    [{ response_type: 'token' }, 'invalid_request'],
    [{ code_challenge: 'short' }, 'invalid_request'],
  ] as const) {
    const answer = await call(googleAuthUrl(simulators, more))
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.headers.get('location')).toBeNull()
    expect(answer.text).toContain(text)
  }
})

test('PKCE is enforced and a code is good once and for ten minutes', async () => {
  const once = await code()
  expect((await redeemGoogle(simulators, once, { code_verifier: '' })).json.error).toBe('invalid_grant')
  expect((await redeemGoogle(simulators, once, { code_verifier: 'y'.repeat(43) })).json.error).toBe(
    'invalid_grant',
  )
  expect((await redeemGoogle(simulators, once)).status).toBe(200)
  expect((await redeemGoogle(simulators, once)).json.error).toBe('invalid_grant')
  const late = await code()
  offsetMs = 600_001
  expect((await redeemGoogle(simulators, late)).json.error).toBe('invalid_grant')
})

test('a refresh token comes only with offline access and shown consent', async () => {
  const first = await redeemGoogle(simulators, await code({ prompt: undefined }))
  expect(first.json).toHaveProperty('refresh_token')
  const again = await redeemGoogle(simulators, await code({ prompt: undefined }))
  expect(again.json).not.toHaveProperty('refresh_token')
  const shown = await redeemGoogle(simulators, await code({ prompt: 'consent' }))
  expect(shown.json).toHaveProperty('refresh_token')
  const online = await redeemGoogle(simulators, await code({ access_type: 'online' }))
  expect(online.json).not.toHaveProperty('refresh_token')
})

test('partial consent is told in scope, and a hinted returning account is sent on without a page', async () => {
  const { json } = await redeemGoogle(simulators, await code({}, { scopes: [gmailScope] }))
  expect(json.scope.split(' ')).toEqual([gmailScope, emailScope, profileScope, 'openid'])
  const back = await call(
    googleAuthUrl(simulators, { prompt: undefined, login_hint: gita, scope: `openid ${gmailScope}` }),
  )
  expect(back.status).toBe(302)
  expect(new URL(back.headers.get('location') ?? '').searchParams.get('prompt')).toBe('none')
  await control(simulators).post('/faults', { provider: 'google', grantScopes: [] })
  const none = await redeemGoogle(simulators, await code())
  expect(none.json.scope).not.toContain('gmail')
})

test('a refresh does not rotate, and refusals name the client or the grant', async () => {
  const tokens = await connectGoogle(simulators)
  const refreshed = await refresh(tokens.refresh_token)
  expect(refreshed.status).toBe(200)
  expect(refreshed.json).not.toHaveProperty('refresh_token')
  expect((await refresh('garbage')).json).toEqual({
    error: 'invalid_grant',
    error_description: 'Bad Request',
  })
  const secret = await redeemGoogle(simulators, await code(), { client_secret: 'wrong' })
  expect([secret.status, secret.json.error]).toEqual([401, 'invalid_client'])
})

test('a project in Testing tells the seven days and ends the refresh token after them', async () => {
  await control(simulators).post('/faults', { provider: 'google', refreshTokenExpiresIn: 604_799 })
  const tokens = await connectGoogle(simulators)
  expect(tokens.refresh_token_expires_in).toBe(604_799)
  offsetMs = 604_800_000
  expect((await refresh(tokens.refresh_token)).json.error_description).toBe(
    'Token has been expired or revoked.',
  )
})

test('the 101st refresh token of an account silently ends the oldest', async () => {
  const first = await connectGoogle(simulators)
  const second = await connectGoogle(simulators)
  for (let count = 0; count < 99; count += 1) await connectGoogle(simulators)
  expect((await refresh(first.refresh_token)).status).toBe(400)
  expect((await refresh(second.refresh_token)).status).toBe(200)
})

test('revoking one token ends the whole project grant; again it is invalid_token; GET is not found', async () => {
  const one = await connectGoogle(simulators)
  const two = await connectGoogle(simulators)
  const revoke = (token: string) => call(`${simulators.googleUrl}/revoke`, form({ token }))
  expect((await revoke(one.access_token)).status).toBe(200)
  expect((await refresh(two.refresh_token)).json.error).toBe('invalid_grant')
  const repeated = await revoke(one.refresh_token)
  expect([repeated.status, repeated.json.error]).toEqual([400, 'invalid_token'])
  expect((await call(`${simulators.googleUrl}/revoke?token=x`)).status).toBe(404)
  const next = await redeemGoogle(simulators, await code({ prompt: undefined }))
  expect(next.json).toHaveProperty('refresh_token')
})

test('an id token can be spoilt and keys rotated', async () => {
  await control(simulators).post('/faults', {
    provider: 'google',
    idToken: { iss: 'https://issuer.invalid' },
  })
  expect(decodeJwt((await connectGoogle(simulators)).id_token).iss).toBe('https://issuer.invalid')
  const kids = async () =>
    (await call(`${simulators.googleUrl}/oauth2/v3/certs`)).json.keys.map((key: { kid: string }) => key.kid)
  const before = await kids()
  await control(simulators).post('/faults', { provider: 'google', rotateKeys: true })
  expect(await kids()).toHaveLength(2)
  expect(await kids()).toEqual(expect.arrayContaining(before))
  await control(simulators).post('/faults', { provider: 'google', rotateKeys: 'drop' })
  expect(await kids()).toHaveLength(1)
})
