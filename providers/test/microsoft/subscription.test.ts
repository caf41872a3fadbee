/** Making and ending Graph subscriptions against a server that answers as Graph does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { Provider } from '../../src/provider.ts'
import { Secret } from '../../src/secret.ts'
import { openWith } from '../conformance.ts'
import { type Reply, startClock, type TestClock } from '../loopback.ts'
import { type MicrosoftWorld, startMicrosoft } from './world.ts'

const PATH = '/v1.0/subscriptions'
const created = (
  expirationDateTime: unknown,
  id: unknown = '7f105c7d-2dc5-4530-97cd-4e7ae6534c07',
): Reply => ({
  status: 201,
  body: { id, resource: 'me/messages', expirationDateTime, notificationContentType: null, clientState: 'x' },
})
const refused = (status: number, code: string, message: string, headers = {}): Reply => ({
  status,
  headers,
  body: { error: { code, message, innerError: { date: '2022-08-11T11:25:25' } } },
})

describe('Graph subscriptions', () => {
  let clock: TestClock
  let world: MicrosoftWorld
  let provider: Provider
  beforeEach(async () => {
    clock = startClock()
    world = await startMicrosoft(clock)
    provider = openWith(microsoft, world.environment, clock)
  })
  afterEach(() => world.close())

  const create = (ms = 5000) =>
    provider.subscriptions.create({
      resource: 'me/messages',
      accessToken: new Secret('the-access-token'),
      notificationUrl: 'https://hooks.example/webhook/events/microsoft/ref1',
      channelSecret: new Secret('the-client-state'),
      signal: AbortSignal.timeout(ms),
    })
  const stop = () =>
    provider.subscriptions.stop({
      resource: 'me/messages',
      providerSubscriptionId: 'a/b',
      accessToken: new Secret('t'),
      signal: AbortSignal.timeout(5000),
    })

  const renew = (grantedLifeMs?: number) =>
    provider.subscriptions.renew({
      resource: 'me/messages',
      providerSubscriptionId: 'a/b',
      accessToken: new Secret('t'),
      grantedLifeMs,
      signal: AbortSignal.timeout(5000),
    })
  const ONE = `${PATH}/a%2Fb`
  const patched = (expirationDateTime: unknown): Reply => ({ ...created(expirationDateTime), status: 200 })

  it('renews by PATCH with the longest life', async () => {
    world.server.reply(ONE, patched('2026-09-27T09:50:00Z'))
    expect(await renew()).toEqual({ kind: 'renewed', expiresAt: new Date('2026-09-27T09:50:00Z') })
    const [request] = world.server.requestsTo(ONE)
    expect(request?.method).toBe('PATCH')
    expect(JSON.parse(request?.body ?? '')).toEqual({ expirationDateTime: '2026-09-27T09:50:00.000Z' })
  })

  it('steps down when the length is refused, and begins there where no more was granted before', async () => {
    const refusal = refused(
      400,
      'ErrorInvalidParameter',
      'Subscription expiration can only be 4230 minutes in the future.',
    )
    world.server.reply(ONE, refusal, patched('2026-09-23T08:30:00Z'))
    expect(await renew(10_070 * 60_000)).toMatchObject({ kind: 'renewed' })
    expect(await renew(4_230 * 60_000)).toMatchObject({ kind: 'renewed' })
    const asked = world.server.requestsTo(ONE).map(({ body }) => JSON.parse(body).expirationDateTime)
    expect(asked).toEqual([
      '2026-09-27T09:50:00.000Z',
      '2026-09-23T08:30:00.000Z',
      '2026-09-23T08:30:00.000Z',
    ])
  })

  it.each([404, 410])('one that Graph does not know any more (%s) is gone', async (status) => {
    world.server.reply(ONE, refused(status, 'ResourceNotFound', 'The object was not found.'))
    expect(await renew()).toEqual({ kind: 'gone' })
  })

  it.each(['2026-09-20T10:05:00Z', '2026-12-31T00:00:00Z', '', null, 'soon'])(
    'a renewal that ends at %s is not believed',
    async (expiry) => {
      world.server.reply(ONE, patched(expiry))
      expect(await renew()).toEqual({
        kind: 'failed',
        failure: { class: 'transient', code: 'absurd_expiry' },
      })
    },
  )

  it('a throttled renewal says when to come again', async () => {
    world.server.reply(ONE, refused(429, 'TooManyRequests', 'slow', { 'retry-after': '120' }))
    expect(await renew()).toMatchObject({
      kind: 'failed',
      failure: { class: 'throttled', retryAfterSeconds: 120 },
    })
  })

  it.each(['Mail.Read', 'mail.readwrite', 'https://graph.microsoft.com/Mail.ReadBasic'])(
    'wants mail with %s',
    (scope) => {
      expect(provider.subscriptions.wanted(['openid', scope])).toEqual([
        { kind: 'mail', resource: 'me/messages' },
      ])
    },
  )

  it('wants what the scopes carry and the setting lets through', () => {
    const scopes = ['openid', 'Mail.Send', 'Calendars.ReadWrite', 'Files.ReadWrite.All']
    const calendar = { kind: 'calendar', resource: 'me/events' }
    const drive = { kind: 'drive', resource: 'me/drive/root' }
    expect(provider.subscriptions.wanted(['openid', 'Mail.Send'])).toEqual([])
    expect(provider.subscriptions.wanted(scopes)).toEqual([calendar, drive])
    const watching = (watch: string) =>
      openWith(microsoft, { ...world.environment, MICROSOFT_WATCH: watch }, clock).subscriptions.wanted(
        scopes,
      )
    expect(watching('mail, drive')).toEqual([drive])
    expect(watching('none')).toEqual([])
  })

  it('asks for seven days less ten minutes, immutable ids and both URLs', async () => {
    world.server.reply(PATH, created('2026-09-27T09:50:00.0000000Z'))
    expect(await create()).toEqual({
      kind: 'created',
      providerSubscriptionId: '7f105c7d-2dc5-4530-97cd-4e7ae6534c07',
      expiresAt: new Date('2026-09-27T09:50:00Z'),
    })
    const [request] = world.server.requestsTo(PATH)
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer the-access-token',
      prefer: 'IdType="ImmutableId"',
    })
    expect(JSON.parse(request?.body ?? '')).toEqual({
      changeType: 'created,updated,deleted',
      notificationUrl: 'https://hooks.example/webhook/events/microsoft/ref1',
      lifecycleNotificationUrl: 'https://hooks.example/webhook/events/microsoft/ref1',
      resource: 'me/messages',
      expirationDateTime: '2026-09-27T09:50:00.000Z',
      clientState: 'the-client-state',
      latestSupportedTlsVersion: 'v1_2',
    })
  })

  it.each(['ErrorInvalidParameter', 'InvalidRequest'])(
    'steps down once to 4,230 minutes on %s about the expiration',
    async (code) => {
      world.server.reply(
        PATH,
        refused(400, code, 'Subscription expiration can only be 4230 minutes in the future.'),
        created('2026-09-23T08:30:00+00:00'),
      )
      expect(await create()).toMatchObject({ kind: 'created' })
      const [, second] = world.server.requestsTo(PATH)
      expect(JSON.parse(second?.body ?? '').expirationDateTime).toBe('2026-09-23T08:30:00.000Z')
    },
  )

  it('steps down only once', async () => {
    world.server.reply(PATH, refused(400, 'InvalidRequest', 'expirationDateTime is out of range'))
    expect(await create()).toEqual({
      kind: 'failed',
      failure: { class: 'our_configuration', code: 'InvalidRequest' },
    })
    expect(world.server.requestsTo(PATH)).toHaveLength(2)
  })

  it.each([
    ['nine minutes', '2026-09-20T10:09:00Z'],
    ['nine days', '2026-09-29T10:00:00Z'],
    ['the past', '2016-11-20T18:23:45.9356913Z'],
    ['no date', 'tomorrow'],
    ['a number', 1426325213000],
    ['nothing', undefined],
  ])('believes no expiry of %s', async (_name, expiry) => {
    world.server.reply(PATH, created(expiry))
    expect(await create()).toEqual({ kind: 'failed', failure: { class: 'transient', code: 'absurd_expiry' } })
  })

  it('believes no answer without an id', async () => {
    world.server.reply(PATH, created('2026-09-27T09:50:00Z', null))
    expect(await create()).toEqual({
      kind: 'failed',
      failure: { class: 'transient', code: 'bad_subscription_answer' },
    })
  })

  it.each([
    [
      'a failed validation',
      refused(
        400,
        'InvalidRequest',
        'Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.',
      ),
      { class: 'our_configuration', code: 'validation_failed' },
    ],
    [
      'a validation that timed out',
      refused(400, 'ValidationError', 'Subscription validation request timed out.'),
      { class: 'transient', code: 'validation_timed_out' },
    ],
    [
      'a backend refusal',
      refused(400, 'ExtensionError', 'Operation: Create; Exception: [Status Code: Unauthorized; Reason: ]'),
      { class: 'needs_admin', code: 'ExtensionError' },
    ],
    [
      'a dead access token',
      refused(401, 'InvalidAuthenticationToken', 'Continuous access evaluation resulted in claims challenge'),
      { class: 'transient', code: 'InvalidAuthenticationToken' },
    ],
    [
      'a missing permission',
      refused(403, 'Authorization_RequestDenied', 'Insufficient privileges'),
      { class: 'needs_user', code: 'Authorization_RequestDenied' },
    ],
    [
      'a full quota',
      refused(403, 'Forbidden', 'The limit of 1000 subscriptions has been reached'),
      { class: 'throttled', code: 'Forbidden' },
    ],
    [
      'a double',
      refused(409, 'Conflict', 'Subscription Id already exists for the requested combination'),
      { class: 'transient', code: 'already_subscribed' },
    ],
    [
      'throttling',
      refused(429, 'TooManyRequests', 'Please retry again later.', { 'retry-after': '2.128' }),
      { class: 'throttled', code: 'TooManyRequests', retryAfterSeconds: 3 },
    ],
    ['an outage', { status: 503, body: 'Service Unavailable' }, { class: 'transient', code: 'http_503' }],
    [
      'a redirect',
      { status: 302, headers: { location: '/elsewhere' } },
      { class: 'transient', code: 'redirected' },
    ],
  ] as const)('names %s', async (_name, reply, failure) => {
    world.server.reply(PATH, reply)
    expect(await create()).toEqual({ kind: 'failed', failure })
    expect(world.server.requestsTo('/elsewhere')).toEqual([])
  })

  it('gives up at the deadline', async () => {
    world.server.reply(PATH, { status: 201, hang: 'at once' })
    expect(await create(100)).toEqual({ kind: 'failed', failure: { class: 'transient', code: 'timeout' } })
  })

  it.each([204, 404])('takes %i for stopped', async (status) => {
    world.server.reply(`${PATH}/a%2Fb`, { status })
    expect(await stop()).toEqual({ kind: 'stopped' })
    expect(world.server.requests[0]?.method).toBe('DELETE')
  })

  it('reports a stop that failed', async () => {
    world.server.reply(`${PATH}/a%2Fb`, refused(500, 'generalException', 'x'))
    expect(await stop()).toEqual({
      kind: 'failed',
      failure: { class: 'transient', code: 'generalException' },
    })
  })
})
