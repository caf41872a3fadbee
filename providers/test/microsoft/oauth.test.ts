/** Connecting with Microsoft: conformance, the issuer template, scopes, accounts, and captured errors. */
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { Failure } from '../../src/provider.ts'
import { Secret } from '../../src/secret.ts'
import { CANARIES, codeExchange, describeConformance, openWith } from '../conformance.ts'
import { makeSigner, notification, type Reply, startClock } from '../loopback.ts'
import { type MicrosoftWorld, OID, startMicrosoft, TENANT_A, TENANT_B } from './world.ts'

function stsError(number: number, error: string, more: object = {}, status = 400): Reply {
  const description = `AADSTS${number}: Something in English.\r\nTrace ID: 47a23f57-3717-4857-8fab-b3485aeba800`
  const body = {
    error,
    error_description: description,
    error_codes: [number],
    timestamp: '2021-10-29 17:16:31Z',
    ...more,
  }
  return { status, body }
}

/** Captured from a refresh after `revokeSignInSessions` (protocols/microsoft.md §1.6). */
const REVOKED: Reply = stsError(50173, 'invalid_grant', {
  trace_id: '47a23f57-3717-4857-8fab-b3485aeba800',
  correlation_id: '14bf0b94-fba8-4d0b-84da-5f1c505531cf',
  error_uri: 'https://login.microsoftonline.com/error?code=50173',
  suberror: 'bad_token',
})

type Row = { name: string; reply: Reply; failure: Failure }

function rows(failureClass: Failure['class'], error: string, numbers: readonly number[]): Row[] {
  return numbers.map((number) => ({
    name: `AADSTS${number}`,
    reply: stsError(number, error),
    failure: { class: failureClass, code: `AADSTS${number}` },
  }))
}

describeConformance(microsoft, {
  switchVariable: 'MICROSOFT_CLIENT_ID',
  secretVariable: 'MICROSOFT_CLIENT_SECRET',
  start: startMicrosoft,
  tokenErrors: [
    {
      name: 'the captured AADSTS50173',
      reply: REVOKED,
      failure: { class: 'permanent', code: 'AADSTS50173' },
    },
    ...rows(
      'permanent',
      'invalid_grant',
      [70008, 700082, 700084, 70000, 50089, 50132, 50133, 70043, 54005, 501481],
    ),
    ...rows('needs_user', 'interaction_required', [50076, 50079, 50072, 50074, 50078, 50158]),
    ...rows('needs_user', 'invalid_grant', [53000, 53001, 53002, 53003, 53004, 700020, 65001, 65004]),
    ...rows(
      'needs_admin',
      'invalid_grant',
      [90094, 90095, 90008, 50057, 50034, 50020, 50105, 51004, 500212, 500213],
    ),
    ...rows('needs_admin', 'unauthorized_client', [700016, 70001, 7000112]),
    ...rows('our_configuration', 'invalid_client', [7000215, 7000222, 70002, 700027, 7000218]),
    ...rows('our_configuration', 'invalid_scope', [70011, 28000, 28002, 28003, 700022]),
    ...rows('our_configuration', 'invalid_request', [90014, 900144, 9002313, 50011]),
    ...rows('our_configuration', 'server_error', [90036, 90092, 50086]),
    ...rows('transient', 'temporarily_unavailable', [90033, 90006, 90012, 90024, 90090, 50033, 50087, 70012]),
    ...rows('throttled', 'temporarily_unavailable', [90055, 50196]),
    {
      name: 'invalid_client with 401',
      reply: stsError(7000215, 'invalid_client', {}, 401),
      failure: { class: 'our_configuration', code: 'AADSTS7000215' },
    },
    {
      name: '429 with Retry-After',
      reply: { ...stsError(90055, 'temporarily_unavailable', {}, 429), headers: { 'retry-after': '7' } },
      failure: { class: 'throttled', code: 'AADSTS90055', retryAfterSeconds: 7 },
    },
    {
      name: '503 with a fraction in Retry-After',
      reply: { status: 503, headers: { 'retry-after': '2.128' } },
      failure: { class: 'transient', code: 'http_503', retryAfterSeconds: 3 },
    },
    {
      name: '503 that names a dead grant',
      reply: stsError(50173, 'invalid_grant', {}, 503),
      failure: { class: 'transient', code: 'AADSTS50173' },
    },
    {
      name: 'a new number of a known error',
      reply: stsError(99999, 'invalid_grant'),
      failure: { class: 'permanent', code: 'AADSTS99999' },
    },
    {
      name: 'a new number with a suberror for users',
      reply: stsError(99999, 'invalid_grant', { suberror: 'basic_action' }),
      failure: { class: 'needs_user', code: 'AADSTS99999' },
    },
    {
      name: 'an error without numbers',
      reply: { status: 400, body: { error: 'consent_required' } },
      failure: { class: 'needs_user', code: 'consent_required' },
    },
    {
      name: 'a word nobody knows',
      reply: { status: 400, body: { error: 'eyJ0b2tlbiI6MX0' } },
      failure: { class: 'transient', code: 'http_400' },
    },
    {
      name: 'a proxy page',
      reply: { status: 403, body: '<html>' },
      failure: { class: 'transient', code: 'http_403' },
    },
  ],
  forgeries: [
    {
      name: 'a POST without any proof',
      request: notification({ body: Buffer.from('{"value":[]}') }),
      status: 401,
    },
    {
      name: 'an invented ref',
      request: notification({ ref: 'invented', body: Buffer.from('{"value":[]}') }),
      status: 404,
    },
    {
      name: 'a handshake with an invented ref (WI-06)',
      request: notification({ ref: 'x', query: [['validationToken', 'abc']] }),
      status: 404,
    },
    {
      name: 'a handshake without a ref (WI-06)',
      request: notification({ query: [['validationToken', 'abc']] }),
      status: 404,
    },
    {
      name: 'a relay with a wrong signature',
      request: notification({ headers: { 'x-ms-signature': ['0'.repeat(64)] } }),
      status: 401,
    },
    { name: 'another method', request: notification({ method: 'GET' }), status: 405 },
  ],
})

describe('Microsoft sign-in', () => {
  const clock = startClock()
  let world: MicrosoftWorld
  const open = (more = {}) => openWith(microsoft, { ...world.environment, ...more }, clock)
  const exchange = async (change: Parameters<MicrosoftWorld['tokenAnswer']>[1], more = {}) => {
    world.replyToken(await world.tokenAnswer(CANARIES.nonce, change))
    return open(more).oauth.exchange(codeExchange())
  }
  beforeEach(async () => {
    world = await startMicrosoft(clock)
  })
  afterEach(() => world.close())

  it('derives its addresses from the real ones by default', () => {
    const reading = microsoft.readSettings(
      { MICROSOFT_CLIENT_ID: 'a', MICROSOFT_CLIENT_SECRET: 'b' },
      'production',
    )
    expect(reading).toMatchObject({
      kind: 'on',
      settings: {
        tenant: 'common',
        loginUrl: 'https://login.microsoftonline.com',
        graphUrl: 'https://graph.microsoft.com',
      },
    })
  })

  it('OP-06 refuses a relay secret of 31 bytes and a tenant that is a path', () => {
    const reading = microsoft.readSettings(
      { ...world.environment, MICROSOFT_WEBHOOK_SECRET: 'x'.repeat(31), MICROSOFT_TENANT: 'a/b' },
      'local',
    )
    expect(reading.kind === 'invalid' && reading.mistakes.map((mistake) => mistake.split(' ')[0])).toEqual([
      'MICROSOFT_TENANT',
      'MICROSOFT_WEBHOOK_SECRET',
    ])
  })

  it.each([
    ['2027-03-31', '2027-03-31T00:00:00.000Z'],
    ['2027-03-31T12:30:00Z', '2027-03-31T12:30:00.000Z'],
    ['', undefined],
    ['31.03.2027', 'refused'],
    ['2027-13-01', 'refused'],
    ['2027-02-30', 'refused'],
    ['2027-03-31T25:00Z', 'refused'],
    ['next spring', 'refused'],
  ])('OP-06 MICROSOFT_CLIENT_SECRET_EXPIRES_AT=%s is %s', (value, expected) => {
    const reading = microsoft.readSettings(
      { ...world.environment, MICROSOFT_CLIENT_SECRET_EXPIRES_AT: value },
      'local',
    )
    if (expected === 'refused') {
      expect(reading).toMatchObject({
        kind: 'invalid',
        mistakes: [expect.stringMatching(/^MICROSOFT_CLIENT_SECRET_EXPIRES_AT is not a date/)],
      })
      if (value !== '') expect(JSON.stringify(reading)).not.toContain(value)
      return
    }
    if (reading.kind !== 'on') throw new Error(inspect(reading))
    expect(reading.settings.clientSecretExpiresAt?.toISOString()).toBe(expected)
    expect(
      microsoft.open(reading.settings, { fetch, call: fetch, now: () => clock.now }).clientSecretExpiresAt,
    ).toEqual(expected === undefined ? undefined : new Date(expected))
  })

  it('asks by form_post with the account picker, offline_access included', () => {
    const request = {
      state: 's',
      nonce: 'n',
      codeChallenge: 'c',
      redirectUri: 'https://h/c',
      scopes: ['Mail.Read'],
    }
    const url = open().oauth.authorizationUrl(request)
    expect(url.pathname).toBe('/common/oauth2/v2.0/authorize')
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      response_mode: 'form_post',
      prompt: 'select_account',
      client_id: 'client-1',
    })
    expect(url.searchParams.get('scope')?.split(' ').sort()).toEqual([
      'Mail.Read',
      'email',
      'offline_access',
      'openid',
      'profile',
    ])
    const hinted = open().oauth.authorizationUrl({ ...request, loginHint: 'a@b.example' }).searchParams
    expect([hinted.get('prompt'), hinted.get('login_hint')]).toEqual([null, 'a@b.example'])
  })

  it('has the default scopes of the contract', () => {
    expect(new Set(open().oauth.defaultScopes)).toEqual(
      new Set([
        'openid',
        'email',
        'profile',
        'offline_access',
        'Mail.Read',
        'Mail.Send',
        'Files.ReadWrite.All',
        'Calendars.ReadWrite',
      ]),
    )
  })

  it('OA-06 accepts a callback without iss, because Entra sends none, and a tenant of its own cloud', () => {
    const { oauth } = open()
    expect(oauth.judgeIssuer(undefined)).toBe('ok')
    expect(oauth.judgeIssuer(`${world.server.url}/${TENANT_A}/v2.0`)).toBe('ok')
    expect(oauth.judgeIssuer(`${world.server.url}/not-a-guid/v2.0`)).toBe('wrong')
    expect(
      open({ MICROSOFT_TENANT: TENANT_B }).oauth.judgeIssuer(`${world.server.url}/${TENANT_A}/v2.0`),
    ).toBe('wrong')
  })

  it('knows the account by tenant and object id, and shows its name', async () => {
    const outcome = await exchange({ claims: { oid: OID.toUpperCase() } })
    expect(outcome).toMatchObject({
      kind: 'granted',
      account: {
        key: `${TENANT_A}:${OID}`,
        label: 'Adele@contoso.example',
        address: undefined,
        tenant: TENANT_A,
      },
    })
  })

  it.each([
    ['no oid', { oid: undefined }],
    ['an oid that is no GUID', { oid: 'x' }],
  ])('refuses an id token with %s', async (_name, claims) => {
    expect(await exchange({ claims })).toMatchObject({
      kind: 'failed',
      failure: { class: 'permanent', code: 'id_token_without_account' },
    })
  })

  it.each([
    ['a tid that is no GUID', (url: string) => ({ tid: 'common', iss: `${url}/common/v2.0` })],
    ['a tid of another tenant than the issuer', () => ({ tid: TENANT_B })],
    ['no tid', () => ({ tid: undefined })],
    ['the template itself as issuer', (url: string) => ({ iss: `${url}/{tenantid}/v2.0` })],
    ['the v1 issuer', () => ({ iss: `https://sts.windows.net/${TENANT_A}/` })],
  ])('OA-07 refuses %s', async (_name, claims) => {
    expect(await exchange({ claims: claims(world.server.url) })).toMatchObject({
      failure: { code: 'id_token_wrong_issuer' },
    })
  })

  it('OA-07 a key with an issuer of its own signs only for that one', async () => {
    const bound = await makeSigner('k1', { issuer: `${world.server.url}/${TENANT_B}/v2.0` })
    world.publish(bound)
    const now = clock.now.getTime() / 1000
    const claims = { aud: 'client-1', oid: OID, iat: now, exp: now + 60, nonce: CANARIES.nonce }
    const exchangeSigned = async (tid: string) => {
      const id_token = await bound.sign({ ...claims, tid, iss: `${world.server.url}/${tid}/v2.0` })
      return exchange({ body: { id_token } })
    }
    expect(await exchangeSigned(TENANT_A)).toMatchObject({ failure: { code: 'id_token_wrong_issuer' } })
    expect((await exchangeSigned(TENANT_B)).kind).toBe('granted')
  })

  it.each([
    ['organizations', '9188040d-6c67-4c5b-b112-36a304b66dad', false],
    ['organizations', TENANT_A, true],
    ['consumers', TENANT_A, false],
    ['consumers', '9188040d-6c67-4c5b-b112-36a304b66dad', true],
    [TENANT_B, TENANT_A, false],
    [TENANT_A, TENANT_A, true],
  ])('OA-07 with MICROSOFT_TENANT=%s an account of %s is welcome: %s', async (setting, tid, welcome) => {
    await world.close()
    world = await startMicrosoft(clock, setting)
    const outcome = await exchange({ claims: { tid, iss: `${world.server.url}/${tid}/v2.0` } })
    expect(outcome.kind === 'granted').toBe(welcome)
  })

  it('OA-11 compares scopes without case and prefix, and finds offline_access by the refresh token', async () => {
    const scopes = ['Mail.Read', 'Mail.Send', 'offline_access']
    const asked = { ...codeExchange(), scopes }
    const body = {
      scope: `openid profile EMAIL https://graph.microsoft.com/mail.read ${world.server.url}/User.Read`,
    }
    world.replyToken(
      await world.tokenAnswer(CANARIES.nonce, { body }),
      await world.tokenAnswer(CANARIES.nonce, { body: { ...body, refresh_token: undefined } }),
    )
    const first = await open().oauth.exchange(asked)
    if (first.kind !== 'granted') throw new Error(inspect(first))
    expect(first.missingScopes).toEqual(['Mail.Send'])
    expect(new Set(first.tokens.grantedScopes)).toEqual(
      new Set(['openid', 'profile', 'email', 'Mail.Read', 'offline_access', 'user.read']),
    )
    expect(await open().oauth.exchange(asked)).toMatchObject({
      missingScopes: ['offline_access', 'Mail.Send'],
      tokens: { refreshToken: undefined },
    })
  })

  it('asks for offline_access again in a refresh, and keeps it as granted', async () => {
    world.replyToken({
      status: 200,
      body: {
        token_type: 'Bearer',
        access_token: 'a',
        expires_in: '3599',
        refresh_token: 'r2',
        scope: 'Mail.Read',
      },
    })
    const outcome = await open().oauth.refresh({
      refreshToken: new Secret('r1'),
      scopes: ['Mail.Read'],
      signal: AbortSignal.timeout(5000),
    })
    expect(outcome).toMatchObject({
      kind: 'refreshed',
      tokens: { grantedScopes: ['Mail.Read', 'openid', 'offline_access'] },
    })
    const form = world.tokenRequests()[0]?.form
    expect(form?.get('scope')?.split(' ')).toContain('offline_access')
    expect(form?.get('refresh_token')).toBe('r1')
  })

  it('WI-13 calls an exchange transient when the keys cannot be fetched', async () => {
    world.server.reply('/common/discovery/v2.0/keys', { status: 503 })
    expect(await exchange({})).toEqual({
      kind: 'failed',
      failure: { class: 'transient', code: 'keys_unreachable' },
    })
  })
})
