/** The security token service against protocols/microsoft.md §1. */
import { createLocalJWKSet, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { contosoTenant, personalTenant } from '../src/accounts.ts'
import type { Simulators } from '../src/start.ts'
import {
  call,
  canary,
  clientId,
  clientSecret,
  connectMicrosoft,
  consent,
  control,
  form,
  microsoftAuthUrl,
  microsoftRedirect,
  type Receiver,
  redeemMicrosoft,
  start,
  startReceiver,
  verifier,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let offsetMs = 0

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver, { now: () => Date.now() + offsetMs })
})
beforeEach(async () => {
  offsetMs = 0
  await control(simulators).post('/reset', {})
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const adele = 'adele@contoso.test'
const keysUrl = () => new URL(`${simulators.microsoftUrl}/common/discovery/v2.0/keys`)

async function code(more: Record<string, string | undefined> = {}): Promise<string> {
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators, more), adele)
  return parameters.get('code') ?? ''
}

function refresh(token: string, more: Record<string, string> = {}) {
  const values = {
    grant_type: 'refresh_token',
    client_id: clientId,
    client_secret: clientSecret,
    refresh_token: token,
  }
  return call(`${simulators.microsoftUrl}/common/oauth2/v2.0/token`, form({ ...values, ...more }))
}

test('discovery has the tenant template at common and a concrete issuer at a tenant, and promises neither PKCE nor iss', async () => {
  const at = async (segment: string) =>
    (await call(`${simulators.microsoftUrl}/${segment}/v2.0/.well-known/openid-configuration`)).json
  const common = await at('common')
  expect(common.issuer).toBe(`${simulators.microsoftUrl}/{tenantid}/v2.0`)
  expect(common.tenant_region_scope).toBeNull()
  expect((await at('contoso.test')).issuer).toBe(`${simulators.microsoftUrl}/${contosoTenant}/v2.0`)
  expect((await at('consumers')).issuer).toBe(`${simulators.microsoftUrl}/${personalTenant}/v2.0`)
  expect(common).not.toHaveProperty('code_challenge_methods_supported')
  expect(common).not.toHaveProperty('revocation_endpoint')
  expect(common).not.toHaveProperty('authorization_response_iss_parameter_supported')
  expect(
    (await call(`${simulators.microsoftUrl}/nobody.test/v2.0/.well-known/openid-configuration`)).status,
  ).toBe(400)
})

test('a consent comes back by form_post without iss, and the code buys tokens whose id token verifies', async () => {
  const callback = await consent(simulators, microsoftAuthUrl(simulators), adele)
  expect(callback.method).toBe('POST')
  expect(callback.url).toBe(microsoftRedirect)
  expect(callback.parameters.get('state')).toBe('state-1')
  expect(callback.parameters.has('iss')).toBe(false)
  const { status, json, headers } = await redeemMicrosoft(simulators, callback.parameters.get('code') ?? '')
  expect(status).toBe(200)
  expect(headers.get('cache-control')).toBe('no-store, no-cache')
  expect(json.token_type).toBe('Bearer')
  expect(json.expires_in).toBeTypeOf('number')
  expect(json.scope).toBe(
    'email openid profile https://graph.microsoft.com/Calendars.ReadWrite https://graph.microsoft.com/Mail.Read',
  )
  for (const value of [callback.parameters.get('code'), json.access_token, json.refresh_token]) {
    expect(value).toMatch(new RegExp(`^${canary}.{43,}`))
  }
  const { payload } = await jwtVerify(json.id_token, createRemoteJWKSet(keysUrl()), {
    issuer: `${simulators.microsoftUrl}/${contosoTenant}/v2.0`,
    audience: clientId,
    algorithms: ['RS256'],
  })
  expect(payload).toMatchObject({
    tid: contosoTenant,
    preferred_username: adele,
    nonce: 'nonce-1',
    ver: '2.0',
  })
})

test('the key of personal accounts has a concrete issuer and signs for them only', async () => {
  const { keys } = (await call(keysUrl().href)).json
  const issuers = Object.fromEntries(
    keys.map((key: { kid: string; issuer: string }) => [key.kid, key.issuer]),
  )
  expect(new Set(Object.values(issuers))).toEqual(
    new Set([
      `${simulators.microsoftUrl}/{tenantid}/v2.0`,
      `${simulators.microsoftUrl}/${personalTenant}/v2.0`,
    ]),
  )
  const dora = await connectMicrosoft(simulators, 'dora@outlook.test')
  const work = await connectMicrosoft(simulators, adele)
  expect(issuers[decodeProtectedHeader(dora.id_token).kid ?? '']).toBe(decodeJwt(dora.id_token).iss)
  expect(issuers[decodeProtectedHeader(work.id_token).kid ?? '']).toContain('{tenantid}')
})

test('an unregistered redirect URI is a dead end without any redirect', async () => {
  for (const redirect of [
    `${microsoftRedirect}/`,
    microsoftRedirect.toUpperCase(),
    'https://evil.test/',
    undefined,
  ]) {
    const answer = await call(microsoftAuthUrl(simulators, { redirect_uri: redirect }))
    expect(answer.status).toBe(400)
    expect(answer.headers.get('location')).toBeNull()
    expect(answer.text).toContain('AADSTS50011')
    expect(answer.text).not.toContain('evil.test')
  }
  const foreign = await call(microsoftAuthUrl(simulators, { client_id: 'somebody-else' }))
  expect(foreign.text).toContain('AADSTS700016')
  const tried = await control(simulators).post('/authorize', {
    authUrl: microsoftAuthUrl(simulators, { redirect_uri: 'https://evil.test/' }),
    account: adele,
  })
  expect(tried.status).toBe(422)
})

test('PKCE is enforced: no verifier, a wrong one, and one without a challenge are refused', async () => {
  const without = await redeemMicrosoft(simulators, await code(), { code_verifier: '' })
  expect(without.json).toMatchObject({ error: 'invalid_grant', error_codes: [501481] })
  const wrong = await redeemMicrosoft(simulators, await code(), { code_verifier: 'x'.repeat(43) })
  expect(wrong.json.error_codes).toEqual([501481])
  const plain = await code({ code_challenge: 'p'.repeat(50), code_challenge_method: undefined })
  expect((await redeemMicrosoft(simulators, plain, { code_verifier: 'p'.repeat(50) })).status).toBe(200)
  const unasked = await code({ code_challenge: undefined, code_challenge_method: undefined })
  expect((await redeemMicrosoft(simulators, unasked)).json.error_codes).toEqual([501481])
})

test('a code is good once, for ten minutes, at its own tenant segment, with its own redirect URI', async () => {
  const once = await code()
  expect((await redeemMicrosoft(simulators, once)).status).toBe(200)
  expect((await redeemMicrosoft(simulators, once)).json.error_codes).toEqual([54005])
  const late = await code()
  offsetMs = 600_001
  expect((await redeemMicrosoft(simulators, late)).json.error_codes).toEqual([70008])
  offsetMs = 0
  const elsewhere = await call(
    `${simulators.microsoftUrl}/organizations/oauth2/v2.0/token`,
    form({
      grant_type: 'authorization_code',
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uri: microsoftRedirect,
      code: await code(),
      code_verifier: verifier,
    }),
  )
  expect(elsewhere.json.error_codes).toEqual([700005])
  const redirected = await redeemMicrosoft(simulators, await code(), {
    redirect_uri: `${microsoftRedirect}/x`,
  })
  expect(redirected.status).toBe(400)
})

test('the client proves itself by post or basic, and errors carry every captured field', async () => {
  const values = {
    grant_type: 'authorization_code',
    redirect_uri: microsoftRedirect,
    code_verifier: verifier,
  }
  const basic = await call(`${simulators.microsoftUrl}/common/oauth2/v2.0/token`, {
    ...form({ ...values, code: await code() }),
    headers: { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` },
  })
  expect(basic.status).toBe(200)
  const wrong = await redeemMicrosoft(simulators, await code(), { client_secret: 'wrong-secret' })
  expect(wrong.status).toBe(401)
  expect(wrong.json).toMatchObject({
    error: 'invalid_client',
    error_codes: [7000215],
    error_description: expect.stringMatching(
      /^AADSTS7000215: .*\r\nTrace ID: .*\r\nCorrelation ID: .*\r\nTimestamp: /s,
    ),
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/),
    trace_id: wrong.headers.get('x-ms-request-id'),
    correlation_id: expect.any(String),
    error_uri: expect.stringContaining('7000215'),
  })
  expect(wrong.text).not.toContain('wrong-secret')
  const none = await redeemMicrosoft(simulators, await code(), { client_secret: '' })
  expect(none.json.error_codes).toEqual([7000218])
})

test('a refresh brings a new refresh token and leaves the old one alive, also twice at once', async () => {
  const first = await connectMicrosoft(simulators)
  const [one, two] = await Promise.all([refresh(first.refresh_token), refresh(first.refresh_token)])
  expect([one.status, two.status]).toEqual([200, 200])
  expect(one.json.refresh_token).not.toBe(first.refresh_token)
  expect(decodeJwt(one.json.id_token)).not.toHaveProperty('nonce')
  expect((await refresh(first.refresh_token, { scope: 'Mail.Read' })).json).not.toHaveProperty(
    'refresh_token',
  )
  expect((await refresh(first.refresh_token, { scope: 'Files.Read' })).json.suberror).toBe('consent_required')
  offsetMs = 90 * 86_400_000 + 1_000
  expect((await refresh(first.refresh_token)).json.error_codes).toEqual([700082])
})

test('without offline_access there is no refresh token, without openid no id token', async () => {
  const bare = await redeemMicrosoft(simulators, await code({ scope: 'openid Mail.Read' }))
  expect(bare.json).not.toHaveProperty('refresh_token')
  expect(bare.json).toHaveProperty('id_token')
  const graphOnly = await redeemMicrosoft(simulators, await code({ scope: 'Mail.Read offline_access' }))
  expect(graphOnly.json).toHaveProperty('refresh_token')
  expect(graphOnly.json).not.toHaveProperty('id_token')
})

test('a withdrawn consent kills refresh and access tokens with AADSTS50173', async () => {
  const tokens = await connectMicrosoft(simulators)
  await control(simulators).post('/revoke-account', { provider: 'microsoft', account: adele })
  expect((await refresh(tokens.refresh_token)).json).toMatchObject({
    error_codes: [50173],
    suberror: 'bad_token',
  })
  const me = await call(`${simulators.microsoftUrl}/v1.0/me`, {
    headers: { authorization: `Bearer ${tokens.access_token}` },
  })
  expect(me.status).toBe(401)
})

test('refusal, prompt=none and an unknown prompt come back as errors with the state', async () => {
  const denied = await consent(simulators, microsoftAuthUrl(simulators), adele, { deny: true })
  expect(denied.parameters.get('error')).toBe('access_denied')
  expect(denied.parameters.get('error_description')).toMatch(/^AADSTS65004: /)
  expect(denied.parameters.get('state')).toBe('state-1')
  const silent = await consent(simulators, microsoftAuthUrl(simulators, { prompt: 'none' }), adele)
  expect(silent.parameters.get('error')).toBe('login_required')
  await control(simulators).post('/faults', { provider: 'microsoft', denyConsent: true })
  const switched = await consent(simulators, microsoftAuthUrl(simulators), adele)
  expect(switched.parameters.get('error')).toBe('access_denied')
})

test('the switch for id tokens spoils claims and signatures, for OA-07', async () => {
  const idToken = async (spoilt: Record<string, unknown>): Promise<string> => {
    await control(simulators).post('/faults', { provider: 'microsoft', idToken: spoilt })
    return (await connectMicrosoft(simulators)).id_token
  }
  const keys = createLocalJWKSet((await call(keysUrl().href)).json)
  expect(decodeJwt(await idToken({ nonce: 'other' })).nonce).toBe('other')
  expect(decodeJwt(await idToken({ nonce: null }))).not.toHaveProperty('nonce')
  expect(decodeJwt(await idToken({ aud: 'other' })).aud).toBe('other')
  expect(decodeJwt(await idToken({ exp: -60 })).exp).toBeLessThan(Date.now() / 1000)
  expect(decodeProtectedHeader(await idToken({ alg: 'none' })).alg).toBe('none')
  expect(decodeProtectedHeader(await idToken({ alg: 'HS256' })).alg).toBe('HS256')
  await expect(jwtVerify(await idToken({ kid: 'unknown' }), keys)).rejects.toMatchObject({
    code: 'ERR_JWKS_NO_MATCHING_KEY',
  })
  await expect(jwtVerify(await idToken({ foreignKey: true }), keys)).rejects.toMatchObject({
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  })
})
