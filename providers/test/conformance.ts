/**
 * What every provider must do, whoever it is. A provider's own test calls `describeConformance` with its module and
 * a fixture that plays the provider's endpoints; the third provider of `third-provider.test.ts` passes it as well.
 */
import { createHash, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type {
  Environment,
  Failure,
  Lookup,
  NotificationRequest,
  Provider,
  ProviderModule,
} from '../src/provider.ts'
import { Secret } from '../src/secret.ts'
import {
  hostAt,
  NOTHING_KNOWN,
  notification,
  type Recorded,
  type Reply,
  startClock,
  type TestClock,
} from './loopback.ts'

export interface ProviderFixture {
  /** Variable whose absence turns the provider off. */
  readonly switchVariable: string
  readonly secretVariable: string
  /** Starts the provider's endpoints; the environment points to them. */
  start(clock: TestClock): Promise<ProviderWorld>
  /** Answers of the token endpoint and what they must be called. */
  readonly tokenErrors: readonly { readonly name: string; readonly reply: Reply; readonly failure: Failure }[]
  /** Requests that anybody could send, and the status that this provider needs. */
  readonly forgeries: readonly {
    readonly name: string
    readonly request: NotificationRequest
    readonly status: number
  }[]
}

export interface ProviderWorld {
  readonly environment: Environment
  replyToken(...replies: Reply[]): void
  tokenRequests(): readonly Recorded[]
  /** A complete answer for an account, with an id token for this nonce; `change` spoils claims or header. */
  tokenAnswer(nonce: string, change?: IdTokenChange): Promise<Reply>
  close(): Promise<void>
}

export interface IdTokenChange {
  readonly claims?: Record<string, unknown>
  readonly header?: Record<string, unknown>
  readonly body?: Record<string, unknown>
  /** Changes the finished token. */
  readonly token?: (token: string) => string
}

export const CANARIES = {
  code: 'canary-code-9f2c',
  verifier: 'canary-verifier-9f2c-0123456789012345678901234567',
  nonce: 'canary-nonce-9f2c',
  access: 'canary-access-9f2c',
  refresh: 'canary-refresh-9f2c',
  secret: 'canary-client-secret-9f2c',
}

export function codeExchange(signal = AbortSignal.timeout(5000)) {
  return {
    code: new Secret(CANARIES.code),
    codeVerifier: new Secret(CANARIES.verifier),
    nonce: new Secret(CANARIES.nonce),
    redirectUri: 'https://hooks.example/callback',
    scopes: [] as readonly string[],
    signal,
  }
}

export function openWith(module: ProviderModule, environment: Environment, clock: TestClock): Provider {
  const reading = module.readSettings(environment, 'local')
  if (reading.kind !== 'on') throw new Error(inspect(reading))
  return module.open(reading.settings, hostAt(clock))
}

export function expectNoCanary(outcome: unknown): void {
  const shown = `${JSON.stringify(outcome)} ${inspect(outcome, { depth: 20, showHidden: true })} ${String(outcome)}`
  for (const canary of Object.values(CANARIES)) expect(shown).not.toContain(canary)
}

export function describeConformance(module: ProviderModule, fixture: ProviderFixture): void {
  describe(`${module.id} conforms to the contract of a provider`, () => {
    let clock: TestClock
    let world: ProviderWorld
    let provider: Provider
    beforeEach(async () => {
      clock = startClock()
      world = await fixture.start(clock)
      provider = openWith(module, world.environment, clock)
    })
    afterEach(() => world.close())

    it('has an id for URLs and a name for people, the same before and after opening', () => {
      expect(module.id).toMatch(/^[a-z][a-z0-9-]*$/)
      expect([provider.id, provider.label]).toEqual([module.id, module.label])
      expect(module.label).not.toBe('')
    })

    it('is off without its client id, whatever else is set', () => {
      const { [fixture.switchVariable]: _, ...rest } = world.environment
      expect(module.readSettings({}, 'production')).toEqual({ kind: 'off' })
      expect(module.readSettings({ ...rest, [fixture.switchVariable]: '' }, 'local')).toEqual({ kind: 'off' })
    })

    it('OP-06 names a missing secret and every other mistake at once, and prints no value', () => {
      const spoilt: Environment = {
        ...world.environment,
        [fixture.secretVariable]: '',
        ...Object.fromEntries(
          urlVariables(module).map((name) => [name, 'ftp://user:hunter2@example.com/?a=b']),
        ),
      }
      const reading = module.readSettings(spoilt, 'production')
      if (reading.kind !== 'invalid') throw new Error('settings with mistakes were accepted')
      for (const name of [fixture.secretVariable, ...urlVariables(module)]) {
        expect(reading.mistakes.filter((mistake) => mistake.startsWith(`${name} `))).toHaveLength(1)
      }
      expect(reading.mistakes.join()).not.toContain('hunter2')
    })

    it('OP-06 refuses plain http unless it is loopback in local mode', () => {
      const [name] = urlVariables(module)
      if (name === undefined) throw new Error('no URL variable')
      const kindOf = (url: string, mode: 'production' | 'local') =>
        module.readSettings({ ...withoutUrls(module, world.environment), [name]: url }, mode).kind
      expect(kindOf('http://127.0.0.1:9', 'local')).toBe('on')
      expect(kindOf('http://127.0.0.1:9', 'production')).toBe('invalid')
      expect(kindOf('http://127.0.0.1.example.com', 'local')).toBe('invalid')
      expect(kindOf('http://example.com', 'local')).toBe('invalid')
      expect(kindOf('https://example.com', 'production')).toBe('on')
    })

    it('documents each of its variables once, and shows no secret in its settings', () => {
      const names = module.variables.map((variable) => variable.name)
      expect(new Set(names).size).toBe(names.length)
      expect(names).toEqual(expect.arrayContaining([fixture.switchVariable, fixture.secretVariable]))
      expectNoCanary(module.readSettings(world.environment, 'local'))
    })

    it('OA-07 asks with S256, state, nonce, redirect URI and always openid', () => {
      const state = randomBytes(32).toString('base64url')
      const codeChallenge = createHash('sha256').update('v').digest('base64url')
      for (const scopes of [[], provider.oauth.defaultScopes, ['something.else']]) {
        const url = provider.oauth.authorizationUrl({
          state,
          nonce: 'the nonce',
          codeChallenge,
          redirectUri: 'https://hooks.example/callback?x=1&y',
          scopes,
        })
        const query = Object.fromEntries(url.searchParams)
        expect(query).toMatchObject({
          response_type: 'code',
          state,
          nonce: 'the nonce',
          code_challenge: codeChallenge,
          code_challenge_method: 'S256',
          redirect_uri: 'https://hooks.example/callback?x=1&y',
        })
        const sent = (query.scope ?? '').split(' ')
        expect(sent).toEqual(expect.arrayContaining(['openid', ...scopes]))
        expect(new Set(sent).size).toBe(sent.length)
        expect([...url.searchParams.keys()].length).toBe(new Set(url.searchParams.keys()).size)
        expect(url.href).not.toContain(CANARIES.secret)
      }
      expect(provider.oauth.defaultScopes).toContain('openid')
    })

    it('OA-06 finds a wrong iss wrong and its own right', () => {
      expect(provider.oauth.judgeIssuer(provider.oauth.issuer)).toBe('ok')
      for (const wrong of [
        'https://evil.example',
        `${provider.oauth.issuer}/`,
        '',
        `${provider.oauth.issuer}.evil.example`,
      ]) {
        expect(provider.oauth.judgeIssuer(wrong)).toBe('wrong')
      }
    })

    it('turns any error of an authorization response into one of our own words', () => {
      fc.assert(
        fc.property(fc.string(), (error) => {
          const reasons = ['access_denied', 'admin_required', 'temporarily_unavailable', 'provider_error']
          expect(reasons).toContain(provider.oauth.reasonOf(error))
        }),
      )
      expect(provider.oauth.reasonOf('access_denied')).toBe('access_denied')
    })

    it('redeems a code with the verifier and the secret, and identifies the account', async () => {
      world.replyToken(await world.tokenAnswer(CANARIES.nonce))
      const outcome = await provider.oauth.exchange(codeExchange())
      if (outcome.kind !== 'granted') throw new Error(inspect(outcome))
      expect(outcome.tokens.accessToken.reveal()).toBe(CANARIES.access)
      expect(outcome.tokens.refreshToken?.reveal()).toBe(CANARIES.refresh)
      expect(outcome.tokens.expiresAt).toEqual(new Date(clock.now.getTime() + 3599_000))
      expect(outcome.account.key).not.toBe('')
      const form = Object.fromEntries(world.tokenRequests()[0]?.form ?? [])
      expect(form).toMatchObject({
        grant_type: 'authorization_code',
        code: CANARIES.code,
        code_verifier: CANARIES.verifier,
        redirect_uri: 'https://hooks.example/callback',
        client_secret: CANARIES.secret,
      })
    })

    it('OP-01 prints no secret in the outcome of an exchange or a refresh, good or bad', async () => {
      const leaky = { error: 'invalid_grant', error_description: Object.values(CANARIES).join(' ') }
      world.replyToken(await world.tokenAnswer(CANARIES.nonce), { status: 400, body: leaky })
      expectNoCanary(await provider.oauth.exchange(codeExchange()))
      expectNoCanary(await provider.oauth.exchange(codeExchange()))
      const refreshed = {
        refreshToken: new Secret(CANARIES.refresh),
        scopes: [],
        signal: AbortSignal.timeout(5000),
      }
      expectNoCanary(await provider.oauth.refresh(refreshed))
      world.replyToken({
        status: 400,
        body: { error: CANARIES.access, error_codes: [CANARIES.code], suberror: CANARIES.refresh },
      })
      expectNoCanary(await provider.oauth.refresh(refreshed))
    })

    const spoilt: [string, IdTokenChange, string][] = [
      ['another nonce', { claims: { nonce: 'another' } }, 'id_token_wrong_nonce'],
      ['no nonce', { claims: { nonce: undefined } }, 'id_token_wrong_nonce'],
      ['another audience', { claims: { aud: 'another-client' } }, 'id_token_wrong_audience'],
      ['several audiences', { claims: { aud: ['another-client', 'client-1'] } }, 'id_token_wrong_audience'],
      ['another issuer', { claims: { iss: 'https://evil.example' } }, 'id_token_wrong_issuer'],
      ['no issuer', { claims: { iss: undefined } }, 'id_token_wrong_issuer'],
      [
        'an expiry 61 s ago',
        { claims: { exp: Date.parse('2026-09-20T09:58:59Z') / 1000 } },
        'id_token_expired_token',
      ],
      ['no expiry', { claims: { exp: undefined } }, 'id_token_bad_time'],
      ['no time of issue', { claims: { iat: undefined } }, 'id_token_bad_time'],
      [
        'a time of issue ahead',
        { claims: { iat: Date.parse('2026-09-20T10:01:02Z') / 1000 } },
        'id_token_token_of_the_future',
      ],
      ['a start ahead', { claims: { nbf: Date.parse('2026-09-20T10:01:02Z') / 1000 } }, 'id_token_bad_time'],
      ['an unknown key', { header: { kid: 'unknown' } }, 'id_token_unknown_key'],
      ['alg none', { token: unsigned }, 'id_token_wrong_algorithm'],
      [
        'alg HS256',
        { token: (token) => withHeader(token, { alg: 'HS256', kid: 'k1' }) },
        'id_token_wrong_algorithm',
      ],
      [
        'alg PS256',
        { token: (token) => withHeader(token, { alg: 'PS256', kid: 'k1' }) },
        'id_token_wrong_algorithm',
      ],
      [
        'an unknown critical header',
        { token: (token) => withHeader(token, { alg: 'RS256', kid: 'k1', crit: ['x'], x: 1 }) },
        'id_token_malformed_token',
      ],
      ['a changed payload', { token: withChangedPayload }, 'id_token_bad_signature'],
      [
        'no signature',
        { token: (token) => `${token.split('.').slice(0, 2).join('.')}.` },
        'id_token_bad_signature',
      ],
      ['no token at all', { body: { id_token: undefined } }, 'id_token_missing'],
    ]
    it.each(spoilt)('OA-07 stores nothing when the id token has %s', async (_name, change, code) => {
      world.replyToken(await world.tokenAnswer(CANARIES.nonce, change))
      const outcome = await provider.oauth.exchange(codeExchange())
      expect(outcome).toEqual({ kind: 'failed', failure: { class: 'permanent', code } })
    })

    it('OA-07 allows one minute of clock skew, not more', async () => {
      const exp = clock.now.getTime() / 1000 - 59
      world.replyToken(await world.tokenAnswer(CANARIES.nonce, { claims: { exp, iat: exp - 3600 } }))
      expect((await provider.oauth.exchange(codeExchange())).kind).toBe('granted')
      clock.forward(1)
      expect((await provider.oauth.exchange(codeExchange())).kind).toBe('failed')
    })

    it.each(fixture.tokenErrors)(
      'maps $name to its class, for codes and for refreshes',
      async ({ reply, failure }) => {
        world.replyToken(reply)
        expect(await provider.oauth.exchange(codeExchange())).toEqual({ kind: 'failed', failure })
        const refresh = { refreshToken: new Secret('r'), scopes: [], signal: AbortSignal.timeout(5000) }
        expect(await provider.oauth.refresh(refresh)).toEqual({ kind: 'failed', failure })
      },
    )

    const disturbed: [string, Reply, string, number][] = [
      ['a redirect', { status: 307, headers: { location: 'http://127.0.0.1:1/' } }, 'redirected', 5000],
      ['no answer before the deadline', { status: 200, hang: 'at once' }, 'timeout', 100],
      [
        'half an answer',
        { status: 200, body: { access_token: 'x'.repeat(100) }, hang: 'in body' },
        'timeout',
        100,
      ],
      ['an endless answer', { status: 200, body: 'x'.repeat(300_000) }, 'answer_too_large', 5000],
      ['an HTML page', { status: 200, body: '<html>' }, 'bad_token_answer', 5000],
      ['no access token', { status: 200, body: { token_type: 'Bearer' } }, 'bad_token_answer', 5000],
      [
        'an access token that breaks headers',
        { status: 200, body: { token_type: 'Bearer', access_token: 'a\r\nb' } },
        'bad_token_answer',
        5000,
      ],
      [
        'a token type that was not asked for',
        { status: 200, body: { token_type: 'DPoP', access_token: 'a' } },
        'bad_token_answer',
        5000,
      ],
      [
        'another token type',
        { status: 200, body: { token_type: 'mac', access_token: 'a' } },
        'bad_token_answer',
        5000,
      ],
      [
        'a hostile body',
        { status: 200, body: '{"__proto__":{"access_token":"a","token_type":"Bearer"}}' },
        'bad_token_answer',
        5000,
      ],
    ]
    it.each(disturbed)(
      'RE-08 calls %s transient: it says nothing about the connection',
      async (_name, reply, code, ms) => {
        world.replyToken(reply)
        const refresh = { refreshToken: new Secret('r'), scopes: [], signal: AbortSignal.timeout(ms) }
        const failure = { class: 'transient', code }
        expect(await provider.oauth.refresh(refresh)).toEqual({ kind: 'failed', failure })
        expect(await provider.oauth.exchange(codeExchange(AbortSignal.timeout(ms)))).toEqual({
          kind: 'failed',
          failure,
        })
      },
    )

    it('leaves the refresh token absent when the answer has none', async () => {
      world.replyToken({ status: 200, body: { access_token: 'new', token_type: 'Bearer', expires_in: 3599 } })
      const scopes = provider.oauth.defaultScopes
      const outcome = await provider.oauth.refresh({
        refreshToken: new Secret('r'),
        scopes,
        signal: AbortSignal.timeout(5000),
      })
      if (outcome.kind !== 'refreshed') throw new Error(inspect(outcome))
      expect(outcome.tokens.refreshToken).toBeUndefined()
      expect(new Set(outcome.tokens.grantedScopes)).toEqual(new Set(scopes))
    })

    it('wants no subscription for a connection without any scope', () => {
      expect(provider.subscriptions.wanted([])).toEqual([])
    })

    it.each(fixture.forgeries)(
      'WI-01 refuses $name with the status that this provider needs',
      async ({ request, status }) => {
        expect(await provider.webhook.judge(request, NOTHING_KNOWN)).toMatchObject({
          kind: 'rejected',
          status,
        })
      },
    )

    it('WI-01 ends every request in a verdict, and none without proof is verified', async () => {
      const everyRef: Lookup = { ...NOTHING_KNOWN, genuineRef: () => 'sub_1' }
      await fc.assert(
        fc.asyncProperty(anyRequest(), fc.constantFrom(NOTHING_KNOWN, everyRef), async (request, lookup) => {
          const verdict = await provider.webhook.judge(request, lookup)
          expect(['rejected', 'handshake', 'unavailable']).toContain(verdict.kind)
          if (lookup === NOTHING_KNOWN) expect(verdict.kind).not.toBe('handshake')
          if (verdict.kind === 'rejected') expect(verdict.reason).toMatch(/^[a-z0-9_]{1,40}$/)
        }),
        { numRuns: 500 },
      )
    })
  })
}

function urlVariables(module: ProviderModule): readonly string[] {
  return module.variables
    .filter((variable) => variable.fallback?.startsWith('https://'))
    .map((variable) => variable.name)
}

function withoutUrls(module: ProviderModule, environment: Environment): Environment {
  return { ...environment, ...Object.fromEntries(urlVariables(module).map((name) => [name, ''])) }
}

const encoded = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')

function withHeader(token: string, header: object): string {
  return [encoded(header), ...token.split('.').slice(1)].join('.')
}

function unsigned(token: string): string {
  return `${encoded({ alg: 'none', kid: 'k1' })}.${token.split('.')[1]}.`
}

function withChangedPayload(token: string): string {
  const [header, payload, signature] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString())
  return [header, encoded({ ...claims, sub: 'somebody-else' }), signature].join('.')
}

function anyRequest(): fc.Arbitrary<NotificationRequest> {
  const headerName = fc.oneof(
    fc.constantFrom(
      'authorization',
      'x-ms-signature',
      'content-type',
      'sec-fetch-mode',
      'x-goog-channel-token',
      '__proto__',
    ),
    fc.string(),
  )
  const headerValue = fc.oneof(
    fc.string(),
    fc.constantFrom('Bearer a.b.c', 'Bearer ', 'navigate', '0'.repeat(64)),
  )
  const item = fc.record(
    {
      clientState: fc.anything(),
      subscriptionId: fc.anything(),
      changeType: fc.anything(),
      lifecycleEvent: fc.anything(),
      resourceData: fc.anything(),
    },
    { requiredKeys: [] },
  )
  const body = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .record(
        { value: fc.array(item), message: fc.anything(), subscription: fc.anything() },
        { requiredKeys: [] },
      )
      .map(jsonBuffer),
  )
  return fc
    .record({
      method: fc.constantFrom('POST', 'GET', 'PUT'),
      ref: fc.option(fc.string(), { nil: undefined }),
      query: fc.array(fc.tuple(fc.oneof(fc.constant('validationToken'), fc.string()), fc.string())),
      headers: fc.dictionary(headerName, fc.array(headerValue, { maxLength: 3 })),
      body,
    })
    .map(notification)
}

function jsonBuffer(value: unknown): Buffer {
  const text = JSON.stringify(value, (_key, inner) => (typeof inner === 'bigint' ? String(inner) : inner))
  return Buffer.from(text ?? 'null')
}
