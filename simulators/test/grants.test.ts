/** Revocation, withdrawn and fewer scopes, the choice of account, admin consent, and every row of the failure tables. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  clientId,
  clientSecret,
  connectGoogle,
  connectMicrosoft,
  consent,
  control,
  form,
  gmailScope,
  googleAuthUrl,
  googleClientId,
  type Json,
  microsoftAuthUrl,
  microsoftRedirect,
  type Receiver,
  redeemGoogle,
  redeemMicrosoft,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
const adele = 'adele@contoso.test'
const gita = 'gita@flow.test'
const contoso = '7d1a5c02-9f0e-4b6e-8a53-1c2f64d0a801'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
})
beforeEach(async () => {
  await tell('/reset', {})
  await tell('/clock', { offsetMs: 0 })
  await tell('/withdraw-consent', { provider: 'google', account: gita })
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const tell = async (path: string, body: unknown): Promise<Json> => {
  const answer = await control(simulators).post(path, body)
  expect([path, answer.status, answer.text]).toEqual([path, 200, answer.text])
  return answer.json
}
const faults = (provider: string, switches: Record<string, unknown>) =>
  tell('/faults', { provider, ...switches })
const refreshGoogle = (token: string) =>
  call(
    `${simulators.googleUrl}/token`,
    form({
      grant_type: 'refresh_token',
      client_id: googleClientId,
      client_secret: clientSecret,
      refresh_token: token,
    }),
  )
const refreshMicrosoft = (token: string, more: Record<string, string> = {}) =>
  call(
    `${simulators.microsoftUrl}/common/oauth2/v2.0/token`,
    form({
      grant_type: 'refresh_token',
      client_id: clientId,
      client_secret: clientSecret,
      refresh_token: token,
      ...more,
    }),
  )
const revoke = (token: string) => call(`${simulators.googleUrl}/revoke`, form({ token }))
const profile = (token: string) =>
  call(`${simulators.googleUrl}/gmail/v1/users/me/profile`, withBearer(token))

test('Google: a refresh token revokes the grant that two authorizations share, and API calls end with 401', async () => {
  const one = await connectGoogle(simulators)
  const two = await connectGoogle(simulators)
  expect((await profile(two.access_token)).status).toBe(200)
  expect((await revoke(one.refresh_token)).status).toBe(200)
  expect((await profile(one.access_token)).status).toBe(401)
  expect((await profile(two.access_token)).status).toBe(401)
  expect((await refreshGoogle(two.refresh_token)).json.error).toBe('invalid_grant')
})

test('Google: the revocation endpoint can be unavailable, and can lose the answer of a revocation that took place', async () => {
  const tokens = await connectGoogle(simulators)
  await faults('google', { revokeError: { status: 503, body: 'no', times: 1 }, revokeLost: 1 })
  expect((await revoke(tokens.refresh_token)).status).toBe(503)
  expect((await profile(tokens.access_token)).status).toBe(200)
  await expect(revoke(tokens.refresh_token)).rejects.toThrow()
  const again = await revoke(tokens.refresh_token)
  expect([again.status, again.json.error]).toEqual([400, 'invalid_token'])
})

test('Microsoft: after a withdrawn consent a refresh ends with AADSTS65001 while the access token lives on', async () => {
  const tokens = await connectMicrosoft(simulators)
  await tell('/withdraw-consent', { provider: 'microsoft', account: adele })
  const refused = await refreshMicrosoft(tokens.refresh_token)
  expect(refused.status).toBe(400)
  expect(refused.json).toMatchObject({
    error: 'invalid_grant',
    error_codes: [65001],
    suberror: 'consent_required',
  })
  const me = `${simulators.microsoftUrl}/v1.0/me`
  expect((await call(me, withBearer(tokens.access_token))).status).toBe(200)
  await connectMicrosoft(simulators)
  expect((await refreshMicrosoft(tokens.refresh_token)).status).toBe(200)
})

test('Microsoft: revoked sessions end the refresh token with the captured AADSTS50173', async () => {
  const tokens = await connectMicrosoft(simulators)
  await tell('/revoke-account', { provider: 'microsoft', account: adele })
  const refused = await refreshMicrosoft(tokens.refresh_token)
  expect(refused.json).toMatchObject({ error: 'invalid_grant', error_codes: [50173], suberror: 'bad_token' })
  expect(refused.json.error_description).toMatch(
    /^AADSTS50173: .*issued on '\d{4}-\d\d-\d\dT[\d:.]+Z' and the TokensValidFrom date/,
  )
})

test('include_granted_scopes adds what was granted before, and without it only the asked scopes come', async () => {
  await connectGoogle(simulators)
  const calendar = 'https://www.googleapis.com/auth/calendar'
  const scopesOf = async (more: Record<string, string>) => {
    const url = googleAuthUrl(simulators, { scope: `openid ${calendar}`, ...more })
    const { parameters } = await consent(simulators, url, gita)
    return (await redeemGoogle(simulators, parameters.get('code') ?? '')).json.scope.split(' ')
  }
  expect(await scopesOf({})).toEqual([calendar, 'openid'])
  expect(await scopesOf({ include_granted_scopes: 'true' })).toEqual(
    expect.arrayContaining([calendar, gmailScope, 'openid']),
  )
})

test('Microsoft spells scopes qualified or short, alone or with all that was consented, never offline_access', async () => {
  const graph = 'https://graph.microsoft.com/'
  const tokens = await connectMicrosoft(simulators)
  const asked = { scope: 'openid offline_access Mail.Read' }
  const spelled = async () =>
    (await refreshMicrosoft(tokens.refresh_token, asked)).json.scope.split(' ').sort()
  expect(await spelled()).toEqual([`${graph}Mail.Read`, 'openid'])
  await faults('microsoft', { scopeSpelling: 'short' })
  expect(await spelled()).toEqual(['Mail.Read', 'openid'])
  await faults('microsoft', { scopeUnion: true })
  expect(await spelled()).toEqual(['Calendars.ReadWrite', 'Mail.Read', 'email', 'openid', 'profile'])
})

test('a refresh can come back with fewer scopes at both providers', async () => {
  await faults('google', { refreshScopes: [gmailScope] })
  await faults('microsoft', { refreshScopes: ['Mail.Read'] })
  const google = await refreshGoogle((await connectGoogle(simulators)).refresh_token)
  expect(google.json.scope).not.toContain('auth/drive')
  expect(google.json.scope).toContain(gmailScope)
  const microsoft = await refreshMicrosoft((await connectMicrosoft(simulators)).refresh_token)
  expect(microsoft.json.scope).toBe('email openid profile https://graph.microsoft.com/Mail.Read')
})

test('the hinted account answers by itself, and another one where the person chose it, in the browser too', async () => {
  const hint = { login_hint: 'bruno@contoso.test' }
  const { json } = await control(simulators).post('/authorize', {
    authUrl: microsoftAuthUrl(simulators, hint),
  })
  const honoured = await redeemMicrosoft(simulators, new URLSearchParams(json.body).get('code') ?? '')
  const me = async (token: string) =>
    (await call(`${simulators.microsoftUrl}/v1.0/me`, withBearer(token))).json.mail
  expect(await me(honoured.json.access_token)).toBe('bruno@contoso.test')

  await tell('/choose', { provider: 'google', account: 'hugo@flow.test', scopes: [gmailScope] })
  const sent = await call(googleAuthUrl(simulators, { login_hint: gita }))
  expect(sent.status).toBe(302)
  const code = new URL(sent.headers.get('location') ?? '').searchParams.get('code') ?? ''
  const tokens = (await redeemGoogle(simulators, code)).json
  expect((await profile(tokens.access_token)).json.emailAddress).toBe('hugo@flow.test')
  expect(tokens.scope).not.toContain('auth/drive')
  expect((await call(googleAuthUrl(simulators))).status).toBe(200)
})

const adminUrl = (more: Record<string, string> = {}, tenant = 'organizations') =>
  `${simulators.microsoftUrl}/${tenant}/v2.0/adminconsent?${new URLSearchParams({
    client_id: clientId,
    redirect_uri: microsoftRedirect,
    scope: 'https://graph.microsoft.com/Files.ReadWrite.All',
    state: 'admin-state',
    ...more,
  })}`

test('a person of a tenant that asks for approval is refused until an administrator has consented for it', async () => {
  const authUrl = microsoftAuthUrl(simulators, {
    scope: 'openid offline_access Mail.Read Files.ReadWrite.All',
  })
  await faults('microsoft', { requireAdmin: { scopes: ['Files.ReadWrite.All'] } })
  const refused = await consent(simulators, authUrl, adele)
  expect(refused.parameters.get('error')).toBe('consent_required')
  expect(refused.parameters.get('error_description')).toMatch(/^AADSTS90094: /)
  expect(refused.parameters.get('code')).toBeNull()
  expect((await consent(simulators, authUrl, 'dora@outlook.test')).parameters.get('code')).toBeTruthy()

  const granted = await consent(simulators, adminUrl(), 'admin@contoso.test')
  expect(granted.method).toBe('GET')
  expect(Object.fromEntries(granted.parameters)).toEqual({
    admin_consent: 'True',
    tenant: contoso,
    scope: 'https://graph.microsoft.com/Files.ReadWrite.All',
    state: 'admin-state',
  })
  expect((await consent(simulators, authUrl, adele)).parameters.get('code')).toBeTruthy()
  const foreign = await consent(simulators, authUrl, 'carla@fabrikam.test')
  expect(foreign.parameters.get('error')).toBe('consent_required')
  await faults('microsoft', { requireAdmin: { error: 'access_denied', code: 90095 } })
  const denied = await consent(simulators, authUrl, 'carla@fabrikam.test')
  expect(denied.parameters.get('error')).toBe('access_denied')
  expect(denied.parameters.get('error_description')).toMatch(/^AADSTS90095: /)
})

test('the approval can also be missing on the page and at the token endpoint, there as AADSTS65001', async () => {
  const authUrl = microsoftAuthUrl(simulators)
  await faults('microsoft', { requireAdmin: { code: 90095, at: 'page' } })
  const page = await control(simulators).post('/authorize', { authUrl, account: adele })
  expect([page.status, page.json.detail]).toEqual([422, expect.stringContaining('AADSTS90095')])
  await faults('microsoft', { requireAdmin: { code: 65001, at: 'token' } })
  const { parameters } = await consent(simulators, authUrl, adele)
  const refused = await redeemMicrosoft(simulators, parameters.get('code') ?? '')
  expect(refused.json).toMatchObject({ error_codes: [65001], suberror: 'consent_required' })
})

test('admin consent can be declined, and wants an administrator, a tenant other than common and an exact URI', async () => {
  const declined = await consent(simulators, adminUrl(), 'admin@contoso.test', { deny: true })
  expect(declined.parameters.get('error')).toBe('consent_required')
  expect(declined.parameters.get('error_description')).toMatch(/^AADSTS65004: /)
  expect(declined.parameters.get('admin_consent')).toBe('True')
  const asUser = await control(simulators).post('/authorize', { authUrl: adminUrl(), account: adele })
  expect(asUser.status).toBe(422)
  expect((await call(adminUrl({}, 'common'))).status).toBe(400)
  const wrong = await call(adminUrl({ redirect_uri: `${microsoftRedirect}/` }))
  expect([wrong.status, wrong.headers.get('location')]).toEqual([400, null])
  expect((await call(adminUrl({}, contoso))).text).toContain('Permissions requested for your organization')
})

test('every row of both failure tables can be chosen, for one grant type and so many times', async () => {
  const rows = (await control(simulators).get('/failure-rows')).json
  expect(rows.microsoft.length).toBeGreaterThan(60)
  expect(rows.google.length).toBeGreaterThan(20)
  for (const provider of ['microsoft', 'google'] as const) {
    for (const { row, status, error } of rows[provider]) {
      await faults(provider, { tokenFault: { row, grant: 'refresh_token', times: 1, retryAfter: '2.5' } })
      const answer = await (provider === 'microsoft' ? refreshMicrosoft('x') : refreshGoogle('x'))
      expect([row, answer.status, answer.json?.error ?? null]).toEqual([row, status, error])
      expect(answer.headers.get('retry-after')).toBe('2.5')
      if (row.startsWith('AADSTS')) {
        expect(answer.json.error_codes).toEqual([Number(row.slice(6))])
        expect(answer.json.error_description).toMatch(
          new RegExp(`^${row}: .*\\r\\nTrace ID: .*\\r\\nCorrelation ID: .*\\r\\nTimestamp: .*Z$`),
        )
      }
    }
  }
  await faults('microsoft', { tokenFault: { row: 'AADSTS70043', grant: 'refresh_token' } })
  expect((await redeemMicrosoft(simulators, 'x')).json.error_codes).toEqual([70000])
  expect(
    (await control(simulators).post('/faults', { provider: 'google', tokenFault: { row: 'AADSTS70043' } }))
      .status,
  ).toBe(400)
})

test('a lost answer leaves a redeemed code behind, and with strict rotation a spent refresh token', async () => {
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators), adele)
  await faults('microsoft', { tokenLost: 1 })
  const code = parameters.get('code') ?? ''
  await expect(redeemMicrosoft(simulators, code)).rejects.toThrow()
  expect((await redeemMicrosoft(simulators, code)).json.error_codes).toEqual([54005])

  const lenient = await connectMicrosoft(simulators)
  await faults('microsoft', { tokenLost: 1 })
  await expect(refreshMicrosoft(lenient.refresh_token)).rejects.toThrow()
  expect((await refreshMicrosoft(lenient.refresh_token)).status).toBe(200)
  await faults('microsoft', { tokenLost: 1, strictRotation: true })
  await expect(refreshMicrosoft(lenient.refresh_token)).rejects.toThrow()
  const spent = await refreshMicrosoft(lenient.refresh_token)
  expect([spent.json.error, spent.json.error_codes]).toEqual(['invalid_grant', [70000]])
})

test('the token log tells each request with its status and the most in one second, without a token', async () => {
  const [{ refresh_token: token }] = (
    await tell('/grants', { provider: 'google', account: gita, scopes: [gmailScope], count: 3 })
  ).grants
  for (let count = 0; count < 5; count += 1) await refreshGoogle(token)
  await refreshGoogle('garbage')
  const { json, text } = await control(simulators).get('/token-requests/google')
  expect(json.requests.map((one: Json) => one.status)).toEqual([200, 200, 200, 200, 200, 400])
  expect(new Set(json.requests.map((one: Json) => one.credential)).size).toBe(2)
  expect(json.peakPerSecond).toBe(6)
  expect(text).not.toContain(token)
})

test('the control clock moves tokens and codes into the past, and back', async () => {
  const tokens = await connectGoogle(simulators)
  const { parameters } = await consent(simulators, googleAuthUrl(simulators), gita)
  expect(await tell('/clock', { advanceMs: 3_600_000 })).toMatchObject({ offsetMs: 3_600_000 })
  expect((await profile(tokens.access_token)).status).toBe(401)
  expect((await redeemGoogle(simulators, parameters.get('code') ?? '')).json.error).toBe('invalid_grant')
  await tell('/clock', { offsetMs: 0 })
  expect((await profile(tokens.access_token)).status).toBe(200)
  expect((await control(simulators).post('/clock', { offsetMs: 'soon' })).status).toBe(400)
})
