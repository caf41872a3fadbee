/** The Gmail watch against a server that answers as Gmail does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { google } from '../../src/google/index.ts'
import type { Provider } from '../../src/provider.ts'
import { Secret } from '../../src/secret.ts'
import { openWith } from '../conformance.ts'
import { type Reply, startClock, type TestClock } from '../loopback.ts'
import { type GoogleWorld, startGoogle, TOPIC } from './world.ts'

const WATCH = '/gmail/v1/users/me/watch'
const STOP = '/gmail/v1/users/me/stop'
const READ = 'https://www.googleapis.com/auth/gmail.readonly'
const refused = (status: number, reason: string, message: string): Reply => ({
  status,
  body: { error: { errors: [{ domain: 'usageLimits', reason, message }], code: status, message } },
})

describe('the Gmail watch', () => {
  let clock: TestClock
  let world: GoogleWorld
  let provider: Provider
  beforeEach(async () => {
    clock = startClock()
    world = await startGoogle(clock)
    provider = openWith(google, world.environment, clock)
  })
  afterEach(() => world.close())

  const create = () =>
    provider.subscriptions.create({
      resource: 'gmail',
      accessToken: new Secret('t'),
      notificationUrl: '',
      channelSecret: new Secret(''),
      signal: AbortSignal.timeout(5000),
    })
  const stop = () =>
    provider.subscriptions.stop({
      resource: 'gmail',
      providerSubscriptionId: 'gmail-watch',
      accessToken: new Secret('t'),
      signal: AbortSignal.timeout(5000),
    })
  const inDays = (days: number) => String(clock.now.getTime() + days * 86_400_000)

  it('is wanted with a Gmail scope and a topic only', () => {
    expect(provider.subscriptions.wanted(['openid', READ])).toEqual([{ kind: 'mail', resource: 'gmail' }])
    expect(provider.subscriptions.wanted(['https://www.googleapis.com/auth/gmail.send'])).toEqual([])
    const silent = openWith(google, { ...world.environment, GOOGLE_PUBSUB_TOPIC: '' }, clock)
    expect(silent.subscriptions.wanted([READ])).toEqual([])
  })

  it('watches all labels and keeps the cursor', async () => {
    world.server.reply(WATCH, {
      status: 200,
      body: { historyId: '18446744073709551615', expiration: inDays(7) },
    })
    expect(await create()).toEqual({
      kind: 'created',
      providerSubscriptionId: 'gmail-watch',
      expiresAt: new Date(Number(inDays(7))),
      cursor: '18446744073709551615',
    })
    const [request] = world.server.requests
    expect(JSON.parse(request?.body ?? '')).toEqual({ topicName: TOPIC })
    expect(request?.headers.authorization).toBe('Bearer t')
  })

  it('renews by watching again, within a day', async () => {
    world.server.reply(WATCH, { status: 200, body: { historyId: '9', expiration: inDays(7) } })
    expect(provider.subscriptions.renewWithinMs?.('gmail')).toBe(86_400_000)
    expect(provider.subscriptions.isReplaced?.('gmail')).toBe(false)
    expect(
      await provider.subscriptions.renew({
        resource: 'gmail',
        providerSubscriptionId: 'gmail-watch',
        accessToken: new Secret('t'),
        grantedLifeMs: undefined,
        signal: AbortSignal.timeout(5000),
      }),
    ).toEqual({ kind: 'renewed', expiresAt: new Date(Number(inDays(7))) })
  })

  it.each(['0', '-1', '1431990098200', 'soon', '99999999999999999'])(
    'believes no expiration of %s',
    async (expiration) => {
      world.server.reply(WATCH, { status: 200, body: { historyId: '1', expiration } })
      expect(await create()).toEqual({
        kind: 'failed',
        failure: { class: 'transient', code: 'absurd_expiry' },
      })
    },
  )

  it('believes no watch without a historyId', async () => {
    world.server.reply(WATCH, { status: 200, body: { expiration: inDays(7) } })
    expect(await create()).toMatchObject({ kind: 'failed', failure: { code: 'bad_watch_answer' } })
  })

  it.each([
    [
      'a dead access token',
      refused(401, 'authError', 'Invalid Credentials'),
      { class: 'transient', code: 'authError' },
    ],
    [
      'a rate limit with 403',
      refused(403, 'rateLimitExceeded', 'Rate Limit Exceeded'),
      { class: 'throttled', code: 'rateLimitExceeded' },
    ],
    [
      'a user rate limit with 403',
      refused(403, 'userRateLimitExceeded', 'x'),
      { class: 'throttled', code: 'userRateLimitExceeded' },
    ],
    [
      'a rate limit with 429',
      refused(429, 'rateLimitExceeded', 'Too many concurrent requests for user'),
      { class: 'throttled', code: 'rateLimitExceeded' },
    ],
    [
      'an administrator who said no',
      refused(403, 'domainPolicy', 'x'),
      { class: 'needs_admin', code: 'domainPolicy' },
    ],
    [
      'a missing scope',
      refused(403, 'insufficientPermissions', 'x'),
      { class: 'needs_user', code: 'insufficientPermissions' },
    ],
    [
      'a topic that Gmail may not use',
      refused(
        403,
        'forbidden',
        'Error sending test message to Cloud PubSub projects/p/topics/gmail : User not authorized to perform this action.',
      ),
      { class: 'our_configuration', code: 'topic_forbidden' },
    ],
    [
      'a topic that does not exist',
      refused(
        404,
        'notFound',
        'Error sending test message to Cloud PubSub projects/p/topics/gmail : Resource not found (resource=gmail).',
      ),
      { class: 'our_configuration', code: 'topic_not_found' },
    ],
    [
      'overlapping watches',
      refused(
        400,
        'failedPrecondition',
        'Only one user push notification client allowed per developer (call /stop then try again)',
      ),
      { class: 'transient', code: 'push_client_conflict' },
    ],
    ['an outage', { status: 503 }, { class: 'transient', code: 'http_503' }],
  ] as const)('names %s', async (_name, reply, failure) => {
    world.server.reply(WATCH, reply)
    expect(await create()).toEqual({ kind: 'failed', failure })
  })

  it.each([{ status: 204 }, { status: 200, body: '{}' }, { status: 404 }])(
    'takes $status for stopped',
    async (reply) => {
      world.server.reply(STOP, reply)
      expect(await stop()).toEqual({ kind: 'stopped' })
    },
  )

  it('reports a stop that failed', async () => {
    world.server.reply(STOP, { status: 500 })
    expect(await stop()).toEqual({ kind: 'failed', failure: { class: 'transient', code: 'http_500' } })
  })
})
