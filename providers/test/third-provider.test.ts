/**
 * A third provider, made up here: one object and one line in the catalogue, built only from the contract and the
 * kits, and held to the same conformance suite. It proves that nothing outside the providers' folders knows them.
 */
import { createHmac } from 'node:crypto'
import { expect, it } from 'vitest'
import { catalogue } from '../src/index.ts'
import { authorizationUrl } from '../src/oauth/authorization-url.ts'
import { validateIdToken } from '../src/oauth/id-token.ts'
import { remoteKeys } from '../src/oauth/keys.ts'
import { compareScopes, IDENTITY_SCOPES, withScopes } from '../src/oauth/scopes.ts'
import { type ErrorAnswer, redeemCode, refreshTokens } from '../src/oauth/token-request.ts'
import type { Failure, ProviderModule } from '../src/provider.ts'
import type { Secret } from '../src/secret.ts'
import { readerOf } from '../src/setting-reader.ts'
import { singleHeader } from '../src/webhook/headers.ts'
import { isHmacSha256, sha256Hex } from '../src/webhook/hmac.ts'
import { member, readHostileJson, textMember } from '../src/webhook/hostile-json.ts'
import { CANARIES, describeConformance, openWith } from './conformance.ts'
import { hostAt, makeSigner, NOTHING_KNOWN, notification, startClock, startLoopback } from './loopback.ts'
import { openProviders } from './open-providers.ts'

interface AcmeSettings {
  readonly clientId: string
  readonly clientSecret: Secret
  readonly url: string
}

const acme: ProviderModule<AcmeSettings> = {
  id: 'acme',
  label: 'Acme Office',
  variables: [
    { name: 'ACME_CLIENT_ID', meaning: 'Client id; without it Acme is off' },
    { name: 'ACME_CLIENT_SECRET', meaning: 'Client secret', secret: true },
    { name: 'ACME_URL', meaning: 'Acme', fallback: 'https://acme.example' },
  ],
  readSettings(environment, mode) {
    const read = readerOf(environment, mode)
    const clientId = read.text('ACME_CLIENT_ID')
    if (clientId === undefined) return { kind: 'off' }
    const clientSecret = read.requiredSecret('ACME_CLIENT_SECRET', 'ACME_CLIENT_ID')
    const settings = { clientId, clientSecret, url: read.baseUrl('ACME_URL', 'https://acme.example') }
    return read.mistakes.length > 0 ? { kind: 'invalid', mistakes: read.mistakes } : { kind: 'on', settings }
  },
  open(settings, host) {
    const { clientId, clientSecret, url } = settings
    const canonical = (scope: string) => scope
    const client = { host, issuer: url, tokenEndpoint: `${url}/token`, clientId, clientSecret, classify }
    const rule = {
      keys: remoteKeys(host, `${url}/keys`),
      clientId,
      isIssuer: (claims: { iss?: string }) => claims.iss === url,
    }
    return {
      id: 'acme',
      label: 'Acme Office',
      oauth: {
        issuer: url,
        responseMode: 'query',
        defaultScopes: withScopes(['acme.read'], IDENTITY_SCOPES),
        scopes: [],
        authorizationUrl: (request) =>
          authorizationUrl(
            `${url}/authorize`,
            clientId,
            { ...request, scopes: withScopes(request.scopes, IDENTITY_SCOPES) },
            {},
          ),
        judgeIssuer: (presented) => (presented === url ? 'ok' : 'wrong'),
        reasonOf: (error) => (error === 'access_denied' ? 'access_denied' : 'provider_error'),
        async exchange(request) {
          const answer = await redeemCode(client, { ...request, more: {} })
          if (answer.kind === 'failed') return answer
          const idToken = await validateIdToken(rule, answer.idToken, { ...request, now: host.now() })
          if (idToken.kind === 'failed') return idToken
          const { granted, missing } = compareScopes(request.scopes, answer.scope, { canonical })
          const account = {
            key: String(idToken.claims.sub),
            label: 'Acme',
            address: undefined,
            tenant: undefined,
          }
          return {
            kind: 'granted',
            tokens: { ...answer, grantedScopes: granted },
            account,
            missingScopes: missing,
          }
        },
        withdrawalUrl: () => 'https://acme.example/consents',
        async refresh(request) {
          const answer = await refreshTokens(client, { ...request, more: {} })
          if (answer.kind === 'failed') return answer
          return {
            kind: 'refreshed',
            tokens: {
              ...answer,
              grantedScopes: compareScopes(request.scopes, answer.scope, { canonical }).granted,
            },
          }
        },
      },
      webhook: {
        methods: ['POST'],
        bodyLimitBytes: 65_536,
        async judge(request) {
          const signature = singleHeader(request, 'acme-signature')
          if (
            signature.kind !== 'one' ||
            !isHmacSha256(clientSecret, request.body, signature.value, 'base64')
          ) {
            return { kind: 'rejected', status: 403, reason: 'bad_signature' }
          }
          const reading = readHostileJson(request.body)
          if (reading.kind === 'bad') return { kind: 'rejected', status: 400, reason: reading.reason }
          const fact = {
            connectionId: undefined,
            subscriptionId: undefined,
            type: 'relay.message.v1.received',
            originType: 'acme',
            subject: textMember(reading.value, 'id'),
            identity: sha256Hex(request.body),
            time: undefined,
            data: { body: member(reading.value, 'body') ?? null },
          }
          return { kind: 'verified', status: 200, facts: [fact], rejected: [] }
        },
      },
      subscriptions: {
        endsWithGrant: false,
        sharedByAccount: () => false,
        check: async () => ({ kind: 'checked', changed: false, cursor: '0' }),
        pushDelayMs: () => 60_000,
        wanted: () => [],
        create: async () => ({
          kind: 'failed',
          failure: { class: 'our_configuration', code: 'no_subscriptions' },
        }),
        renew: async () => ({ kind: 'gone' }),
        stop: async () => ({ kind: 'stopped' }),
      },
    }
  },
}

function classify(answer: ErrorAnswer): Failure {
  const dead = textMember(answer.body, 'error') === 'invalid_grant' && answer.status === 400
  return dead
    ? { class: 'permanent', code: 'invalid_grant' }
    : { class: 'transient', code: `http_${answer.status}` }
}

async function startAcme(clock = startClock()) {
  const server = await startLoopback()
  const signer = await makeSigner('k1')
  server.reply('/keys', { status: 200, body: { keys: [signer.jwk] } })
  return {
    environment: { ACME_CLIENT_ID: 'client-1', ACME_CLIENT_SECRET: CANARIES.secret, ACME_URL: server.url },
    replyToken: (...replies: Parameters<typeof server.reply> extends [string, ...infer R] ? R : never) =>
      server.reply('/token', ...replies),
    tokenRequests: () => server.requestsTo('/token'),
    async tokenAnswer(
      nonce: string,
      change: Parameters<
        Awaited<ReturnType<typeof import('./google/world.ts').startGoogle>>['tokenAnswer']
      >[1] = {},
    ) {
      const now = clock.now.getTime() / 1000
      const claims = {
        iss: server.url,
        aud: 'client-1',
        sub: 'acme-1',
        iat: now,
        exp: now + 3600,
        nonce,
        ...change.claims,
      }
      const token = await signer.sign(claims, change.header)
      const body = {
        access_token: CANARIES.access,
        refresh_token: CANARIES.refresh,
        token_type: 'Bearer',
        expires_in: 3599,
        id_token: change.token?.(token) ?? token,
        ...change.body,
      }
      return { status: 200, body }
    },
    close: () => server.close(),
  }
}

describeConformance(acme, {
  switchVariable: 'ACME_CLIENT_ID',
  secretVariable: 'ACME_CLIENT_SECRET',
  start: startAcme,
  tokenErrors: [
    {
      name: 'a dead grant',
      reply: { status: 400, body: { error: 'invalid_grant' } },
      failure: { class: 'permanent', code: 'invalid_grant' },
    },
    { name: 'an outage', reply: { status: 503 }, failure: { class: 'transient', code: 'http_503' } },
  ],
  forgeries: [
    {
      name: 'a request without a signature',
      request: notification({ body: Buffer.from('{}') }),
      status: 403,
    },
    {
      name: 'a signature of zeros',
      request: notification({ headers: { 'acme-signature': [`${'A'.repeat(43)}=`] } }),
      status: 403,
    },
  ],
})

it('a third provider is added by one object and one catalogue line', () => {
  const environment = {
    ACME_CLIENT_ID: 'a',
    ACME_CLIENT_SECRET: 'b',
    GOOGLE_CLIENT_ID: 'c',
    GOOGLE_CLIENT_SECRET: 'd',
  }
  const opened = openProviders({ ...catalogue, acme }, environment, 'production', hostAt(startClock()))
  if (opened.kind !== 'opened') throw new Error(opened.mistakes.join())
  expect([...opened.providers.keys()]).toEqual(['google', 'acme'])
  expect(opened.off).toEqual(['microsoft'])
})

it('the mistakes of all providers are reported together', () => {
  const environment = {
    ACME_CLIENT_ID: 'a',
    GOOGLE_CLIENT_ID: 'c',
    MICROSOFT_CLIENT_ID: 'e',
    MICROSOFT_TENANT: '../x',
  }
  const opened = openProviders({ ...catalogue, acme }, environment, 'production', hostAt(startClock()))
  if (opened.kind !== 'invalid') throw new Error('accepted')
  expect(opened.mistakes.map((mistake) => mistake.split(' ')[0])).toEqual([
    'MICROSOFT_CLIENT_SECRET',
    'MICROSOFT_TENANT',
    'GOOGLE_CLIENT_SECRET',
    'ACME_CLIENT_SECRET',
  ])
})

it('WI-01 the third provider verifies a signed message over the raw bytes', async () => {
  const world = await startAcme()
  const provider = openWith(acme, world.environment, startClock())
  const body = Buffer.from('{ "id":"1", "body":"hello" }')
  const signature = createHmac('sha256', CANARIES.secret).update(body).digest('base64')
  const signed = (bytes: Buffer) =>
    provider.webhook.judge(
      notification({ headers: { 'acme-signature': [signature] }, body: bytes }),
      NOTHING_KNOWN,
    )
  expect((await signed(body)).kind).toBe('verified')
  expect((await signed(Buffer.from(JSON.stringify(JSON.parse(body.toString()))))).kind).toBe('rejected')
  await world.close()
})
