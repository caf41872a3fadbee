/** Judging Pub/Sub pushes: mutation matrix of the token and the envelope, against keys served over HTTP. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { google } from '../../src/google/index.ts'
import type { Lookup, NotificationRequest, Provider } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { makeSigner, NOTHING_KNOWN, notification, startClock, type TestClock } from '../loopback.ts'
import { AUDIENCE, type GoogleWorld, SERVICE_ACCOUNT, SUBSCRIPTION, startGoogle } from './world.ts'

type Claims = Record<string, unknown>

const KEYS = '/oauth2/v3/certs'
const LOOKUP: Lookup = {
  ...NOTHING_KNOWN,
  byAddress: async (address) =>
    address === 'user@example.com'
      ? [
          { connectionId: 'con_1', subscriptionId: 'sub_1' },
          { connectionId: 'con_2', subscriptionId: 'sub_2' },
        ]
      : [],
}
const DATA = '{"emailAddress":"User@example.com","historyId":18446744073709551615}'

function envelope(data: string | undefined, more: object = {}, message: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({
      message: {
        data,
        messageId: '2070443601311540',
        message_id: '2070443601311540',
        publishTime: '2026-09-20T09:59:58.749Z',
        publish_time: '2026-09-20T09:59:58.749Z',
        ...message,
      },
      subscription: SUBSCRIPTION,
      ...more,
    }),
  )
}
const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('Pub/Sub pushes', () => {
  let clock: TestClock
  let world: GoogleWorld
  let provider: Provider
  beforeEach(async () => {
    clock = startClock()
    world = await startGoogle(clock)
    provider = openWith(google, world.environment, clock)
  })
  afterEach(() => world.close())

  const claims = (): Claims => {
    const now = clock.now.getTime() / 1000
    const azp = '113774264463038321964'
    return {
      aud: AUDIENCE,
      azp,
      email: SERVICE_ACCOUNT,
      email_verified: true,
      exp: now + 3600,
      iat: now,
      iss: world.server.url,
      sub: azp,
    }
  }
  const token = (change: Claims = {}, header = {}) => world.signer.sign({ ...claims(), ...change }, header)
  const push = (bearer: string, body = envelope(base64(DATA)), more: Partial<NotificationRequest> = {}) =>
    provider.webhook.judge(
      notification({ headers: { authorization: [`Bearer ${bearer}`] }, body, ...more }),
      LOOKUP,
    )

  it('WI-01 a genuine push is one fact for each connection of the address, historyId exact', async () => {
    const fact = {
      type: 'mail.mailbox.v1.notified',
      originType: 'google.gmail.history',
      subject: 'mailbox',
      identity: 'pubsub:2070443601311540',
      time: new Date('2026-09-20T09:59:58.749Z'),
      data: { emailAddress: 'User@example.com', historyId: '18446744073709551615' },
    }
    expect(await push(await token())).toEqual({
      kind: 'verified',
      status: 204,
      facts: [
        { ...fact, connectionId: 'con_1', subscriptionId: 'sub_1' },
        { ...fact, connectionId: 'con_2', subscriptionId: 'sub_2' },
      ],
      rejected: [],
    })
  })

  const past = Date.parse('2026-09-20T09:58:59Z') / 1000
  const ahead = Date.parse('2026-09-20T10:01:02Z') / 1000
  const claimMutations: [string, Claims, string][] = [
    ['the OAuth client id as audience', { aud: 'client-1' }, 'wrong_audience'],
    ['the audience in capitals', { aud: AUDIENCE.toUpperCase() }, 'wrong_audience'],
    ['the audience with a slash', { aud: `${AUDIENCE}/` }, 'wrong_audience'],
    ['a list of audiences', { aud: [AUDIENCE, 'x'] }, 'wrong_audience'],
    ['another service account', { email: 'evil@project.iam.gserviceaccount.com' }, 'wrong_service_account'],
    ['no service account', { email: undefined }, 'wrong_service_account'],
    ['an unverified e-mail', { email_verified: false }, 'unverified_email'],
    ['no email_verified', { email_verified: undefined }, 'unverified_email'],
    ['another issuer', { iss: 'https://evil.example' }, 'wrong_issuer'],
    ['an expiry in the past', { exp: past }, 'expired_token'],
    ['no expiry', { exp: undefined }, 'bad_time'],
    ['no time of issue', { iat: undefined }, 'bad_time'],
    ['a time of issue ahead', { iat: ahead }, 'token_of_the_future'],
  ]
  it.each(claimMutations)('WI-01 a push with %s gets 401', async (_name, change, reason) => {
    expect(await push(await token(change))).toEqual({ kind: 'rejected', status: 401, reason })
  })

  it('accepts email_verified as text, as Google once documented it', async () => {
    expect((await push(await token({ email_verified: 'true' }))).kind).toBe('verified')
  })

  it('WI-01 a token of another key, another algorithm or with a changed part gets 401', async () => {
    const stranger = await makeSigner('k1', {}, 'stranger')
    const good = await token()
    const [header, payload, signature] = good.split('.')
    const forgedHeader = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const changedPayload = Buffer.from(JSON.stringify({ ...claims(), sub: 'x' })).toString('base64url')
    for (const [bearer, reason] of [
      [await stranger.sign(claims()), 'bad_signature'],
      [await token({}, { kid: 'k2' }), 'unknown_key'],
      [`${header}.${changedPayload}.${signature}`, 'bad_signature'],
      [`${header}.${payload}.${signature?.slice(0, -4)}`, 'bad_signature'],
      [`${forgedHeader({ alg: 'HS256', kid: 'k1' })}.${payload}.${signature}`, 'wrong_algorithm'],
      [`${forgedHeader({ alg: 'RS256' })}.${payload}.${signature}`, 'bad_key_id'],
      [
        `${forgedHeader({ alg: 'RS256', kid: 'evil', jwk: stranger.jwk })}.${payload}.${signature}`,
        'unknown_key',
      ],
      [`${forgedHeader({ alg: 'none', kid: 'k1' })}.${payload}.x`, 'wrong_algorithm'],
      [`${header}.${payload}`, 'malformed_token'],
      [`${good} `, 'malformed_token'],
      [`${header}.${'A'.repeat(20_000)}.${signature}`, 'malformed_token'],
    ]) {
      expect(await push(bearer ?? '')).toEqual({ kind: 'rejected', status: 401, reason })
    }
  })

  it('WI-01 WI-11 exactly one authorization header in the exact spelling', async () => {
    const good = await token()
    const withHeaders = (authorization: string[]) =>
      provider.webhook.judge(
        notification({ headers: { authorization }, body: envelope(base64(DATA)) }),
        LOOKUP,
      )
    expect(await withHeaders([])).toMatchObject({ status: 401, reason: 'no_token' })
    expect(await withHeaders([`Bearer ${good}`, `Bearer ${good}`])).toMatchObject({
      status: 400,
      reason: 'duplicate_token',
    })
    for (const value of [
      good,
      `bearer ${good}`,
      `Bearer  ${good}`,
      ` Bearer ${good}`,
      `Basic ${good}`,
      `Bearer ${good}, Bearer ${good}`,
    ]) {
      expect(await withHeaders([value])).toMatchObject({ status: 401, reason: 'malformed_token' })
    }
  })

  it('WI-01 one minute of skew is allowed, also for a token that was verified before', async () => {
    const good = await token()
    expect((await push(good)).kind).toBe('verified')
    clock.forward(3659)
    expect((await push(good)).kind).toBe('verified')
    clock.forward(1)
    expect(await push(good)).toMatchObject({ kind: 'rejected', status: 401, reason: 'expired_token' })
    expect(await push(await token({ exp: clock.now.getTime() / 1000 - 60 }))).toMatchObject({
      reason: 'expired_token',
    })
  })

  it('a token verified once is not verified again while the keys are away', async () => {
    const good = await token()
    await push(good)
    world.server.reply(KEYS, { status: 503 })
    expect((await push(good)).kind).toBe('verified')
    expect(world.server.requestsTo(KEYS)).toHaveLength(1)
  })

  it('WI-13 answers "unavailable" when the keys cannot be reached', async () => {
    world.server.reply(KEYS, { status: 503 })
    expect(await push(await token())).toEqual({ kind: 'unavailable', reason: 'keys_unreachable' })
  })

  it('WI-13 keys that hang leave a notification half a second of its two to be stored, and hold no known key up', async () => {
    await push(await token())
    world.server.reply(KEYS, { status: 200, hang: 'at once' })
    clock.forward(2 * 3600)
    const timed = async (bearer: string) => {
      const started = performance.now()
      const { kind } = await push(bearer)
      return { kind, ms: performance.now() - started }
    }
    const known = await timed(await token())
    expect(known).toEqual({ kind: 'verified', ms: expect.any(Number) })
    expect(known.ms).toBeLessThan(1_000)
    const unknown = await timed(await token({}, { kid: 'k2' }))
    expect(unknown).toEqual({ kind: 'unavailable', ms: expect.any(Number) })
    expect(unknown.ms).toBeLessThan(1_800)
  })

  it('WI-01 another subscription gets 401, an unwrapped push 400', async () => {
    const good = await token()
    expect(
      await push(good, envelope(base64(DATA), { subscription: 'projects/p/subscriptions/other' })),
    ).toMatchObject({ kind: 'rejected', status: 401, reason: 'wrong_subscription' })
    for (const body of [
      DATA,
      '{}',
      '[]',
      JSON.stringify({ message: {} }),
      JSON.stringify({ message: 'x', subscription: SUBSCRIPTION }),
    ]) {
      expect(await push(good, Buffer.from(body))).toMatchObject({
        kind: 'rejected',
        status: 400,
        reason: 'unwrapped',
      })
    }
    expect(await push(good, Buffer.from('<html>'))).toMatchObject({
      kind: 'rejected',
      status: 400,
      reason: 'bad_json',
    })
  })

  it.each([
    ['a number', '{"emailAddress":"user@example.com","historyId":9007199254740993}', '9007199254740993'],
    ['text', '{"emailAddress":"user@example.com","historyId":"9876543210"}', '9876543210'],
    [
      'a number beside a nested one',
      '{"emailAddress":"user@example.com","historyId":1710,"x":{"historyId":5}}',
      '1710',
    ],
  ])('reads historyId as %s without loss, in both base64 alphabets', async (_name, data, historyId) => {
    const good = await token()
    for (const encoding of ['base64', 'base64url'] as const) {
      const verdict = await push(good, envelope(Buffer.from(data).toString(encoding)))
      expect(verdict).toMatchObject({ kind: 'verified', facts: [{ data: { historyId } }, {}] })
    }
  })

  it('takes message_id when messageId is absent', async () => {
    const verdict = await push(
      await token(),
      envelope(base64(DATA), {}, { messageId: undefined, message_id: '77' }),
    )
    expect(verdict).toMatchObject({ facts: [{ identity: 'pubsub:77' }, {}] })
  })

  it('acknowledges a genuine message for an address that nobody connected, and says so: it costs its sender nothing', async () => {
    const data = base64('{"emailAddress":"other@example.com","historyId":1}')
    expect(await push(await token(), envelope(data))).toEqual({
      kind: 'verified',
      status: 204,
      facts: [],
      rejected: ['unknown_mailbox'],
    })
  })

  it.each([
    ['no data', undefined],
    ['no base64', '****'],
    ['no JSON', base64('hello')],
    ['no address', base64('{"historyId":1}')],
    ['a broken address', base64('{"emailAddress":"a\\u0000@b","historyId":1}')],
    ['no historyId', base64('{"emailAddress":"user@example.com"}')],
    ['a negative historyId', base64('{"emailAddress":"user@example.com","historyId":-1}')],
    ['a historyId with an exponent', base64('{"emailAddress":"user@example.com","historyId":1e3}')],
    ['a duplicate historyId', base64('{"emailAddress":"user@example.com","historyId":1,"historyId":2}')],
  ])('acknowledges a genuine message with %s, and stores nothing', async (_name, data) => {
    expect(await push(await token(), envelope(data))).toEqual({
      kind: 'verified',
      status: 204,
      facts: [],
      rejected: ['bad_data'],
    })
  })

  it('WI-01 without its settings no push is believed', async () => {
    const off = {
      GOOGLE_PUBSUB_AUDIENCE: '',
      GOOGLE_PUBSUB_SERVICE_ACCOUNT: '',
      GOOGLE_PUBSUB_SUBSCRIPTION: '',
      GOOGLE_PUBSUB_TOPIC: '',
    }
    provider = openWith(google, { ...world.environment, ...off }, clock)
    expect(await push(await token())).toEqual({ kind: 'rejected', status: 401, reason: 'push_off' })
  })
})
