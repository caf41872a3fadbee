/** Connecting with Google: conformance, issuers, scopes and their other names, accounts, and captured errors. */
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { google } from '../../src/google/index.ts'
import { isGoogleIssuer } from '../../src/google/oauth.ts'
import { Secret } from '../../src/secret.ts'
import { CANARIES, codeExchange, describeConformance, openWith } from '../conformance.ts'
import { notification, type Reply, startClock } from '../loopback.ts'
import { type GoogleWorld, startGoogle } from './world.ts'

const answer = (status: number, error: string, error_description?: string, more: object = {}): Reply => ({
  status,
  body: { error, error_description, ...more },
})

describeConformance(google, {
  switchVariable: 'GOOGLE_CLIENT_ID',
  secretVariable: 'GOOGLE_CLIENT_SECRET',
  start: startGoogle,
  tokenErrors: [
    {
      name: 'a dead refresh token',
      reply: answer(400, 'invalid_grant', 'Token has been expired or revoked.'),
      failure: { class: 'permanent', code: 'invalid_grant' },
    },
    {
      name: 'a used code',
      reply: answer(400, 'invalid_grant', 'Bad Request'),
      failure: { class: 'permanent', code: 'invalid_grant' },
    },
    {
      name: 'invalid_rapt',
      reply: answer(400, 'invalid_grant', 'reauth related error', { error_subtype: 'invalid_rapt' }),
      failure: { class: 'needs_user', code: 'invalid_rapt' },
    },
    {
      name: 'rapt_required',
      reply: answer(400, 'invalid_grant', 'reauth related error', { error_subtype: 'rapt_required' }),
      failure: { class: 'needs_user', code: 'rapt_required' },
    },
    {
      name: 'admin_policy_enforced',
      reply: answer(400, 'admin_policy_enforced'),
      failure: { class: 'needs_admin', code: 'admin_policy_enforced' },
    },
    {
      name: 'a wrong client id',
      reply: answer(401, 'invalid_client', 'The OAuth client was not found.'),
      failure: { class: 'our_configuration', code: 'invalid_client' },
    },
    {
      name: 'a wrong client secret',
      reply: answer(401, 'invalid_client', 'Unauthorized'),
      failure: { class: 'our_configuration', code: 'invalid_client' },
    },
    ...[
      'deleted_client',
      'unauthorized_client',
      'redirect_uri_mismatch',
      'invalid_request',
      'invalid_scope',
      'unsupported_grant_type',
    ].map((error) => ({
      name: error,
      reply: answer(400, error),
      failure: { class: 'our_configuration', code: error } as const,
    })),
    ...[408, 500, 502, 503, 504].map((status) => ({
      name: `status ${status}, even if it names a dead grant`,
      reply: answer(status, 'invalid_grant'),
      failure: { class: 'transient', code: 'invalid_grant' } as const,
    })),
    ...['internal_failure', 'server_error', 'temporarily_unavailable'].flatMap((word) => [
      {
        name: `${word} with 400`,
        reply: answer(400, word),
        failure: { class: 'transient', code: word } as const,
      },
      {
        name: `${word} as description`,
        reply: answer(400, 'invalid_grant', word),
        failure: { class: 'transient', code: word } as const,
      },
    ]),
    {
      name: '429',
      reply: { ...answer(429, 'rate_limit_exceeded'), headers: { 'retry-after': '30' } },
      failure: { class: 'throttled', code: 'rate_limit_exceeded', retryAfterSeconds: 30 },
    },
    {
      name: 'the grant rate limit',
      reply: answer(403, 'rate_limit_exceeded'),
      failure: { class: 'throttled', code: 'rate_limit_exceeded' },
    },
    {
      name: 'a word nobody knows',
      reply: answer(400, 'something_new'),
      failure: { class: 'transient', code: 'http_400' },
    },
    {
      name: 'a page',
      reply: { status: 404, body: '<html>' },
      failure: { class: 'transient', code: 'http_404' },
    },
  ],
  forgeries: [
    { name: 'a push without a token', request: notification({ body: Buffer.from('{}') }), status: 401 },
    {
      name: 'an empty token',
      request: notification({ headers: { authorization: ['Bearer '] } }),
      status: 401,
    },
    {
      name: 'a token of rubbish',
      request: notification({ headers: { authorization: ['Bearer a.b.c'] } }),
      status: 401,
    },
    { name: 'another method', request: notification({ method: 'GET' }), status: 405 },
    { name: 'a channel without its token', request: notification({ ref: 'x' }), status: 401 },
  ],
})

describe('Google sign-in', () => {
  const clock = startClock()
  let world: GoogleWorld
  const open = (more = {}) => openWith(google, { ...world.environment, ...more }, clock)
  beforeEach(async () => {
    world = await startGoogle(clock)
  })
  afterEach(() => world.close())

  it('asks for offline access with consent shown, and never for earlier grants', () => {
    const request = {
      state: 's',
      nonce: 'n',
      codeChallenge: 'c',
      redirectUri: 'https://h/c',
      scopes: [],
      loginHint: 'a@b.example',
    }
    const url = open().oauth.authorizationUrl(request)
    expect(url.pathname).toBe('/o/oauth2/v2/auth')
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      access_type: 'offline',
      prompt: 'consent',
      login_hint: 'a@b.example',
    })
    expect(url.searchParams.has('include_granted_scopes')).toBe(false)
    expect(url.searchParams.has('response_mode')).toBe(false)
  })

  it('has the default scopes of the contract', () => {
    const prefix = 'https://www.googleapis.com/auth/'
    expect(new Set(open().oauth.defaultScopes)).toEqual(
      new Set([
        'openid',
        'email',
        'profile',
        `${prefix}gmail.readonly`,
        `${prefix}drive`,
        `${prefix}calendar`,
      ]),
    )
  })

  it('OA-06 accepts a callback without iss, because Google declares none', () => {
    expect(open().oauth.judgeIssuer(undefined)).toBe('ok')
    expect(open().oauth.judgeIssuer('https://accounts.google.com')).toBe('wrong')
  })

  it('OA-07 knows the real issuer in both spellings, a configured one in one', () => {
    const settingsOf = (environment: Record<string, string>) => {
      const reading = google.readSettings(
        { GOOGLE_CLIENT_ID: 'a', GOOGLE_CLIENT_SECRET: 'b', ...environment },
        'local',
      )
      if (reading.kind !== 'on') throw new Error(inspect(reading))
      return reading.settings as Parameters<typeof isGoogleIssuer>[0]
    }
    const real = settingsOf({})
    expect(
      ['https://accounts.google.com', 'accounts.google.com'].map((issuer) => isGoogleIssuer(real, issuer)),
    ).toEqual([true, true])
    expect(
      ['http://accounts.google.com', 'https://accounts.google.com/', undefined].map((issuer) =>
        isGoogleIssuer(real, issuer),
      ),
    ).toEqual([false, false, false])
    expect(isGoogleIssuer(settingsOf({ GOOGLE_ACCOUNTS_URL: world.server.url }), 'accounts.google.com')).toBe(
      false,
    )
  })

  it.each([
    [true, 'user@gmail.com'],
    ['true', 'user@gmail.com'],
    [false, undefined],
    ['false', undefined],
    [undefined, undefined],
    [1, undefined],
  ])('has an address for pushes only when email_verified is true (%s)', async (email_verified, address) => {
    world.replyToken(await world.tokenAnswer(CANARIES.nonce, { claims: { email_verified } }))
    expect(await open().oauth.exchange(codeExchange())).toMatchObject({
      kind: 'granted',
      account: { key: '110169484474386276334', label: 'User@Gmail.com', address, tenant: undefined },
    })
  })

  it.each([undefined, '', 'x'.repeat(256), 'ü', 7])('refuses an id token with sub %s', async (sub) => {
    world.replyToken(await world.tokenAnswer(CANARIES.nonce, { claims: { sub } as Record<string, unknown> }))
    expect((await open().oauth.exchange(codeExchange())).kind).toBe('failed')
  })

  it('OA-11 maps the other names of email and profile, and names what was unticked', async () => {
    const calendar = 'https://www.googleapis.com/auth/calendar'
    const drive = 'https://www.googleapis.com/auth/drive'
    world.replyToken(await world.tokenAnswer(CANARIES.nonce))
    const outcome = await open().oauth.exchange({
      ...codeExchange(),
      scopes: ['openid', 'email', 'profile', drive, calendar],
    })
    if (outcome.kind !== 'granted') throw new Error(inspect(outcome))
    expect(new Set(outcome.tokens.grantedScopes)).toEqual(new Set(['openid', 'email', 'profile', calendar]))
    expect(outcome.missingScopes).toEqual([drive])
  })

  it('takes a new refresh token if a refresh brings one', async () => {
    world.replyToken({
      status: 200,
      body: { access_token: 'a', token_type: 'Bearer', expires_in: 3599, refresh_token: 'r2' },
    })
    const outcome = await open().oauth.refresh({
      refreshToken: new Secret('r1'),
      scopes: [],
      signal: AbortSignal.timeout(5000),
    })
    expect(outcome.kind === 'refreshed' && outcome.tokens.refreshToken?.reveal()).toBe('r2')
  })

  it('OP-06 push settings belong together, and a topic without them is a mistake', () => {
    const mistakesOf = (more: Record<string, string>) => {
      const off = {
        GOOGLE_PUBSUB_AUDIENCE: '',
        GOOGLE_PUBSUB_SERVICE_ACCOUNT: '',
        GOOGLE_PUBSUB_SUBSCRIPTION: '',
        GOOGLE_PUBSUB_TOPIC: '',
      }
      const reading = google.readSettings({ ...world.environment, ...off, ...more }, 'local')
      return reading.kind === 'invalid' ? reading.mistakes.map((mistake) => mistake.split(' ')[0]) : []
    }
    expect(mistakesOf({})).toEqual([])
    expect(mistakesOf({ GOOGLE_PUBSUB_TOPIC: 'projects/p/topics/t' })).toHaveLength(3)
    expect(mistakesOf({ GOOGLE_PUBSUB_AUDIENCE: 'a' })).toEqual([
      'GOOGLE_PUBSUB_SERVICE_ACCOUNT',
      'GOOGLE_PUBSUB_SUBSCRIPTION',
    ])
    expect(
      mistakesOf({
        GOOGLE_PUBSUB_AUDIENCE: 'a b',
        GOOGLE_PUBSUB_SERVICE_ACCOUNT: 'x',
        GOOGLE_PUBSUB_SUBSCRIPTION: 'gmail',
        GOOGLE_PUBSUB_TOPIC: 'gmail',
        GOOGLE_WEBHOOK_SECRET: 'short',
      }),
    ).toEqual([
      'GOOGLE_PUBSUB_AUDIENCE',
      'GOOGLE_PUBSUB_SERVICE_ACCOUNT',
      'GOOGLE_PUBSUB_SUBSCRIPTION',
      'GOOGLE_PUBSUB_TOPIC',
      'GOOGLE_WEBHOOK_SECRET',
    ])
  })
})
