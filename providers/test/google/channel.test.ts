/** Channels of Drive and Calendar: what is asked of Google, and the judging of what arrives unsigned and empty. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { google } from '../../src/google/index.ts'
import type { KnownSubscription, Lookup, Provider } from '../../src/provider.ts'
import { Secret } from '../../src/secret.ts'
import { openWith } from '../conformance.ts'
import { NOTHING_KNOWN, notification, startClock, type TestClock } from '../loopback.ts'
import { type GoogleWorld, startGoogle } from './world.ts'

const DRIVE = 'drive/v3/changes'
const LIST = 'calendar/v3/users/me/calendarList'
const EVENTS = 'calendar/v3/calendars/team%40group.example/events'
const DAY = 86_400_000

let clock: TestClock
let world: GoogleWorld
let provider: Provider
beforeEach(async () => {
  clock = startClock()
  world = await startGoogle(clock)
  provider = openWith(google, world.environment, clock)
})
afterEach(() => world.close())

const signal = () => AbortSignal.timeout(5000)
const accessToken = new Secret('t')

describe('a web_hook channel', () => {
  const create = (resource: string) =>
    provider.subscriptions.create({
      resource,
      accessToken,
      notificationUrl: 'https://hooks.example/webhook/events/google/ref',
      channelSecret: new Secret('the token'),
      signal: signal(),
    })
  const opened = (more: object = {}) => ({
    status: 200,
    body: {
      kind: 'api#channel',
      id: 'channel-1',
      resourceId: 'resource_1',
      expiration: String(clock.now.getTime() + 7 * DAY),
      ...more,
    },
  })

  it('wants drive changes and the calendar list by their scopes', () => {
    const scope = (name: string) => `https://www.googleapis.com/auth/${name}`
    expect(provider.subscriptions.wanted([scope('drive'), scope('calendar.readonly')])).toEqual([
      { kind: 'drive', resource: DRIVE },
      { kind: 'calendar', resource: LIST },
    ])
    const silent = openWith(google, { ...world.environment, GOOGLE_WATCH: 'mail' }, clock)
    expect(silent.subscriptions.wanted([scope('drive'), scope('calendar')])).toEqual([])
  })

  it('watches drive changes from the newest page token, and asks for the longest life', async () => {
    world.server.reply(`/${DRIVE}/startPageToken`, { status: 200, body: { startPageToken: '77' } })
    world.server.reply(`/${DRIVE}/watch`, opened())
    expect(await create(DRIVE)).toEqual({
      kind: 'created',
      providerSubscriptionId: 'channel-1/resource_1',
      expiresAt: new Date(clock.now.getTime() + 7 * DAY),
    })
    const [request] = world.server.requestsTo(`/${DRIVE}/watch`)
    const body = JSON.parse(request?.body ?? '{}') as Record<string, unknown>
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      type: 'web_hook',
      address: 'https://hooks.example/webhook/events/google/ref',
      token: 'the token',
      expiration: clock.now.getTime() + 7 * DAY,
    })
  })

  it('has a new channel id each time, since one is good once', async () => {
    world.server.reply(`/${EVENTS}/watch`, opened())
    await create(EVENTS)
    await create(EVENTS)
    const ids = world.server
      .requestsTo(`/${EVENTS}/watch`)
      .map(({ body }) => (JSON.parse(body) as { id: string }).id)
    expect(new Set(ids).size).toBe(2)
  })

  it.each([
    ['a number', 7 * DAY, 'created'],
    ['nine minutes', 9 * 60_000, 'failed'],
    ['far beyond what is granted', 40 * DAY, 'failed'],
  ])('WI-16 judges an expiration that is %s', async (_name, inMs, kind) => {
    world.server.reply(`/${LIST}/watch`, opened({ expiration: clock.now.getTime() + inMs }))
    expect((await create(LIST)).kind).toBe(kind)
  })

  it.each([
    [400, 'channelIdNotUnique', 'our_configuration'],
    [403, 'rateLimitExceeded', 'throttled'],
    [503, 'backendError', 'transient'],
  ])('a refusal %i %s has its class', async (status, reason, failureClass) => {
    world.server.reply(`/${LIST}/watch`, { status, body: { error: { errors: [{ reason }], code: status } } })
    expect(await create(LIST)).toMatchObject({ kind: 'failed', failure: { class: failureClass } })
  })

  it('is replaced, not prolonged, and stopped by both of its ids', async () => {
    expect(provider.subscriptions.isReplaced?.(DRIVE)).toBe(true)
    world.server.reply('/drive/v3/channels/stop', { status: 204 })
    world.server.reply('/calendar/v3/channels/stop', { status: 404, body: {} })
    const stop = (resource: string) =>
      provider.subscriptions.stop({
        resource,
        providerSubscriptionId: 'channel-1/resource_1',
        accessToken,
        signal: signal(),
      })
    expect(await stop(DRIVE)).toEqual({ kind: 'stopped' })
    expect(await stop(EVENTS)).toEqual({ kind: 'stopped' })
    const [request] = world.server.requestsTo('/drive/v3/channels/stop')
    expect(JSON.parse(request?.body ?? '')).toEqual({ id: 'channel-1', resourceId: 'resource_1' })
  })

  it('finds each calendar that can be read, and each shared drive', async () => {
    const items = [
      { id: 'gita@flow.test', accessRole: 'owner' },
      { id: 'busy@x', accessRole: 'freeBusyReader' },
      { id: 'gone@x', accessRole: 'reader', deleted: true },
      { id: 'team@group.example', accessRole: 'reader' },
    ]
    world.server.reply(`/${LIST}`, { status: 200, body: { items } })
    world.server.reply('/drive/v3/drives', { status: 200, body: { drives: [{ id: '0AB', name: 'Team' }] } })
    const discover = (resource: string) =>
      provider.subscriptions.discover?.({ resource, accessToken, signal: signal() })
    expect(await discover(LIST)).toEqual({
      kind: 'found',
      wanted: [
        { kind: 'calendar:gita@flow.test', resource: 'calendar/v3/calendars/gita%40flow.test/events' },
        { kind: 'calendar:team@group.example', resource: EVENTS },
      ],
    })
    expect(await discover(DRIVE)).toEqual({
      kind: 'found',
      wanted: [{ kind: 'drive:0AB', resource: `${DRIVE}?driveId=0AB` }],
    })
  })
})

describe('a notification of a channel', () => {
  const CURRENT: KnownSubscription = {
    id: 'sub_1',
    connectionId: 'con_1',
    resource: DRIVE,
    providerSubscriptionId: 'channel-1/resource_1',
    accountKey: 'k',
    tenant: undefined,
  }
  const NEXT = { ...CURRENT, providerSubscriptionId: undefined }
  const LOOKUP: Lookup = {
    ...NOTHING_KNOWN,
    genuineRef: (ref) => (ref === 'ref-1' ? 'sub_1' : ref === 'ref-2' ? 'sub_2' : undefined),
    genuineChannelSecret: (token) => ['current', 'next', 'orphan'].includes(token),
    byChannelSecret: async (token) => ({ current: CURRENT, next: NEXT })[token],
  }
  const HEADERS = {
    'x-goog-channel-token': ['current'],
    'x-goog-channel-id': ['channel-1'],
    'x-goog-resource-id': ['resource_1'],
    'x-goog-resource-state': ['change'],
    'x-goog-message-number': ['1594405'],
    'x-goog-resource-uri': ['https://www.googleapis.com/drive/v3/changes?pageToken=1'],
  }
  const judge = (headers: Record<string, readonly string[] | undefined>, ref = 'ref-1') => {
    const all = Object.entries({ ...HEADERS, ...headers }).flatMap(([name, values]) =>
      values === undefined ? [] : [[name, values] as const],
    )
    return provider.webhook.judge(notification({ ref, headers: Object.fromEntries(all) }), LOOKUP)
  }

  it('WI-01 becomes a fact of its connection, with its number as identity', async () => {
    const verdict = await judge({ 'x-goog-changed': ['content, properties'] })
    expect(verdict).toEqual({
      kind: 'verified',
      status: 200,
      rejected: [],
      facts: [
        {
          connectionId: 'con_1',
          subscriptionId: 'sub_1',
          type: 'files.drive.v1.notified',
          originType: 'google.drive.changes',
          subject: 'drive',
          identity: 'channel:channel-1:1594405',
          time: undefined,
          data: {
            resource: DRIVE,
            state: 'change',
            messageNumber: '1594405',
            changed: 'content, properties',
          },
        },
      ],
    })
    expect(JSON.stringify(verdict)).not.toContain('pageToken')
  })

  // of Drive and of Calendar, and one that no document knows: whatever is not `sync` says that something changed
  it.each(['change', 'add', 'remove', 'update', 'trash', 'untrash', 'exists', 'not_exists', 'changed'])(
    'the state %s says that something changed',
    async (state) => {
      expect(await judge({ 'x-goog-resource-state': [state] })).toMatchObject({
        kind: 'verified',
        status: 200,
        facts: [{ subscriptionId: 'sub_1', data: { state } }],
      })
    },
  )

  it('a sync message is acknowledged and says nothing, also before the answer to the watch call', async () => {
    const nothing = { kind: 'verified', status: 200, facts: [], rejected: [] }
    expect(await judge({ 'x-goog-resource-state': ['sync'] })).toEqual(nothing)
    const early = { 'x-goog-channel-token': ['next'], 'x-goog-channel-id': ['channel-2'] }
    expect(await judge({ ...early, 'x-goog-resource-state': ['sync'] })).toEqual(nothing)
    expect(await judge(early)).toMatchObject({ kind: 'verified', facts: [{ subscriptionId: 'sub_1' }] })
  })

  it.each([
    ['no token', { 'x-goog-channel-token': undefined }, 'ref-1', 401, 'bad_channel_token'],
    [
      'two tokens (WI-11)',
      { 'x-goog-channel-token': ['current', 'current'] },
      'ref-1',
      400,
      'duplicate_channel_token',
    ],
    ['a forged token', { 'x-goog-channel-token': ['forged'] }, 'ref-1', 401, 'bad_channel_token'],
    ['a forged ref', {}, 'ref-x', 404, 'bad_ref'],
    ["another's ref", {}, 'ref-2', 401, 'wrong_subscription'],
    ['another channel', { 'x-goog-channel-id': ['channel-9'] }, 'ref-1', 401, 'wrong_channel'],
    ['another resource', { 'x-goog-resource-id': ['resource_9'] }, 'ref-1', 401, 'wrong_channel'],
    ['no state', { 'x-goog-resource-state': undefined }, 'ref-1', 400, 'bad_channel_headers'],
    ['no channel id', { 'x-goog-channel-id': undefined }, 'ref-1', 400, 'bad_channel_headers'],
    ['two resource ids', { 'x-goog-resource-id': ['a', 'b'] }, 'ref-1', 400, 'bad_channel_headers'],
  ])('WI-01 refuses %s', async (_name, headers, ref, status, reason) => {
    expect(await judge(headers, ref)).toEqual({ kind: 'rejected', status, reason })
  })

  it('one of ours that nobody has is refused and named, so that it can be stopped', async () => {
    expect(await judge({ 'x-goog-channel-token': ['orphan'] })).toEqual({
      kind: 'rejected',
      status: 404,
      reason: 'unknown_channel',
      forged: 0,
      orphan: {
        subscriptionId: 'sub_1',
        providerSubscriptionId: 'channel-1/resource_1',
        idsEnd: '/resource_1',
      },
    })
  })

  it('a number that is none makes it always new; a body is ignored', async () => {
    expect(await judge({ 'x-goog-message-number': ['x'] })).toMatchObject({
      facts: [{ identity: undefined }],
    })
  })
})

describe('a check', () => {
  const check = (resource: string, cursor?: string) =>
    provider.subscriptions.check({ resource, cursor, accessToken, signal: signal() })
  const ok = (body: object) => ({ status: 200, body })

  it('Gmail: counts from the history id, and begins anew where it is too old', async () => {
    world.server.reply('/gmail/v1/users/me/profile', ok({ historyId: '50' }))
    expect(await check('gmail')).toEqual({ kind: 'checked', changed: false, cursor: '50' })
    const history = '/gmail/v1/users/me/history'
    world.server.reply(history, ok({ historyId: '60' }))
    expect(await check('gmail', '50')).toEqual({ kind: 'checked', changed: false, cursor: '60' })
    world.server.reply(history, ok({ history: [{ id: '61' }], historyId: '61' }))
    expect(await check('gmail', '60')).toEqual({ kind: 'checked', changed: true, cursor: '61' })
    // a message that was added tells when: a push before that is not its push
    const added = (id: string) => ({ id, messagesAdded: [{ message: { id: `m${id}` } }] })
    world.server.reply(history, ok({ history: [added('62'), added('63')], historyId: '63' }))
    world.server.reply('/gmail/v1/users/me/messages/m63', ok({ internalDate: '1800000000000' }))
    const newestAt = new Date(1_800_000_000_000)
    expect(await check('gmail', '61')).toEqual({ kind: 'checked', changed: true, cursor: '63', newestAt })
    // gone since, or not the newest that was added: the time is not known
    world.server.reply('/gmail/v1/users/me/messages/m63', { status: 404, body: {} })
    expect(await check('gmail', '61')).toEqual({ kind: 'checked', changed: true, cursor: '63' })
    world.server.reply(history, ok({ history: [added('62'), { id: '64' }], historyId: '64' }))
    expect(await check('gmail', '61')).toEqual({ kind: 'checked', changed: true, cursor: '64' })
    world.server.reply(history, { status: 404, body: {} })
    expect(await check('gmail', '1')).toEqual({ kind: 'checked', changed: false, cursor: '50', lost: true })
  })

  it('Drive: counts from the page token', async () => {
    world.server.reply(`/${DRIVE}/startPageToken`, ok({ startPageToken: '9' }))
    expect(await check(DRIVE)).toEqual({ kind: 'checked', changed: false, cursor: '9' })
    world.server.reply(`/${DRIVE}`, ok({ changes: [], newStartPageToken: '9' }))
    expect(await check(DRIVE, '9')).toEqual({ kind: 'checked', changed: false, cursor: '9' })
    // more than one page: the newest token is asked for
    world.server.reply(`/${DRIVE}`, ok({ changes: [{}], nextPageToken: '6' }))
    expect(await check(DRIVE, '5')).toEqual({ kind: 'checked', changed: true, cursor: '9' })
  })

  it('a calendar: by the time of its last update', async () => {
    const now = clock.now.toISOString()
    world.server.reply(`/${EVENTS}`, ok({ items: [], updated: now }))
    expect(await check(EVENTS)).toEqual({ kind: 'checked', changed: false, cursor: now })
    const updated = new Date(clock.now.getTime() + 5_000).toISOString()
    world.server.reply(`/${EVENTS}`, ok({ items: [{ id: 'e' }], updated }))
    expect(await check(EVENTS, now)).toEqual({
      kind: 'checked',
      changed: true,
      cursor: updated,
      newestAt: new Date(updated),
    })
    world.server.reply(`/${EVENTS}`, { status: 410, body: {} })
    expect(await check(EVENTS, now)).toEqual({ kind: 'checked', changed: false, cursor: now, lost: true })
  })

  it('the calendar list: by its members', async () => {
    world.server.reply(`/${LIST}`, ok({ items: [{ id: 'a' }, { id: 'b' }] }))
    const first = await check(LIST)
    if (first.kind !== 'checked') throw new Error(first.kind)
    world.server.reply(`/${LIST}`, ok({ items: [{ id: 'b' }, { id: 'a' }] }))
    expect(await check(LIST, first.cursor)).toEqual({ ...first, changed: false })
    world.server.reply(`/${LIST}`, ok({ items: [{ id: 'b' }] }))
    expect(await check(LIST, first.cursor)).toMatchObject({ changed: true })
  })

  it.each(['gmail', DRIVE, EVENTS, LIST])('%s: a failure has its class and no cursor', async (resource) => {
    for (const path of ['/gmail/v1/users/me/history', `/${DRIVE}`, `/${EVENTS}`, `/${LIST}`])
      world.server.reply(path, { status: 503, body: {} })
    expect(await check(resource, '5')).toMatchObject({ kind: 'failed', failure: { class: 'transient' } })
  })
})
