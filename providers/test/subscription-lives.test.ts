/**
 * The tables of lives and delays, row by row as the documents have them (protocols/microsoft.md §2.7 and §2.9,
 * protocols/google.md §3 and §4.2): never more is asked for than is documented, nearly all of it is, and an answer between
 * ten minutes and the maximum plus a day is believed, no other. The simulators are held to the same rows by tests of their own.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { google } from '../src/google/index.ts'
import { microsoft } from '../src/microsoft/index.ts'
import type { Provider, ProviderModule } from '../src/provider.ts'
import { Secret } from '../src/secret.ts'
import { openWith } from './conformance.ts'
import { startGoogle } from './google/world.ts'
import { startClock, type TestClock } from './loopback.ts'
import { startMicrosoft } from './microsoft/world.ts'

const MINUTE_MS = 60_000
const DAY_MINUTES = 1_440

interface Row {
  readonly of: string
  readonly module: ProviderModule
  readonly resource: string
  /** What a call that makes one is sent to. */
  readonly path: string
  readonly longestMinutes: number
  /** Documented maximum between a change and its push; absent where Google documents none. */
  readonly latestMinutes?: number
  readonly withData?: boolean
}

const SUBSCRIPTIONS = '/v1.0/subscriptions'
const graph = (
  resource: string,
  longestMinutes: number,
  more: Pick<Row, 'withData' | 'latestMinutes'>,
): Row => ({
  of: `Graph ${resource}${more.withData === true ? ' with resource data' : ''}`,
  module: microsoft,
  resource,
  path: SUBSCRIPTIONS,
  longestMinutes,
  ...more,
})
const channel = (resource: string, longestMinutes: number): Row => ({
  of: resource,
  module: google,
  resource,
  path: `/${resource}/watch`,
  longestMinutes,
})
const WEEK_MINUTES = 7 * DAY_MINUTES
const CALENDAR_MINUTES = 30 * DAY_MINUTES

const ROWS: readonly Row[] = [
  graph('me/messages', 10_080, { latestMinutes: 3 }),
  graph('me/events', 10_080, { latestMinutes: 3 }),
  graph('me/drive/root', 42_300, { latestMinutes: 360 }),
  graph('me/messages', 1_440, { withData: true }),
  graph('me/events', 1_440, { withData: true }),
  { ...channel('gmail', WEEK_MINUTES), path: '/gmail/v1/users/me/watch' },
  channel('drive/v3/changes', WEEK_MINUTES),
  channel('calendar/v3/users/me/calendarList', CALENDAR_MINUTES),
  channel('calendar/v3/calendars/team%40group.example/events', CALENDAR_MINUTES),
]

describe.each(ROWS)('the life of $of', (row) => {
  let clock: TestClock
  let world: Awaited<ReturnType<typeof startMicrosoft>> | Awaited<ReturnType<typeof startGoogle>>
  let provider: Provider
  beforeEach(async () => {
    clock = startClock()
    world = await (row.module === microsoft ? startMicrosoft(clock) : startGoogle(clock))
    provider = openWith(row.module, world.environment, clock)
    world.server.reply('/drive/v3/changes/startPageToken', { status: 200, body: { startPageToken: '7' } })
  })
  afterEach(() => world.close())

  const answer = (minutes: number) => {
    const at = clock.now.getTime() + minutes * MINUTE_MS
    const body = {
      id: 'their-id',
      resourceId: 'their-resource',
      historyId: '5',
      expirationDateTime: new Date(at).toISOString(),
      expiration: String(at),
    }
    world.server.reply(row.path, { status: row.module === microsoft ? 201 : 200, body })
  }
  const create = () =>
    provider.subscriptions.create({
      resource: row.resource,
      accessToken: new Secret('t'),
      notificationUrl: 'https://hooks.example/webhook/events/x/ref',
      channelSecret: new Secret('s'),
      signal: AbortSignal.timeout(5_000),
      ...(row.withData === true ? { encryption: { certificateId: 'crt_1', certificate: 'MIIB' } } : {}),
    })
  const asked = () => {
    const body = JSON.parse(world.server.requestsTo(row.path).at(-1)?.body ?? '{}') as Record<string, unknown>
    const at = body.expiration ?? Date.parse(String(body.expirationDateTime))
    return (Number(at) - clock.now.getTime()) / MINUTE_MS
  }

  it(`WI-16 asks for nearly ${row.longestMinutes} minutes and never for more`, async () => {
    answer(60)
    expect((await create()).kind).toBe('created')
    // a mailbox of Google is asked for no length
    if (row.resource === 'gmail') return
    expect(asked()).toBeLessThanOrEqual(row.longestMinutes)
    expect(asked()).toBeGreaterThanOrEqual(row.longestMinutes - 10)
  })

  it('WI-16 an answer counts from ten minutes to a day beyond the maximum', async () => {
    const kinds: string[] = []
    for (const minutes of [9.9, 10, row.longestMinutes, row.longestMinutes + DAY_MINUTES - 11]) {
      answer(minutes)
      kinds.push((await create()).kind)
    }
    answer(row.longestMinutes + DAY_MINUTES + 1)
    kinds.push((await create()).kind)
    expect(kinds).toEqual(['failed', 'created', 'created', 'created', 'failed'])
  })

  it('WI-16 a push is not missed before the provider had its documented time', () => {
    const minutes = provider.subscriptions.pushDelayMs(row.resource) / MINUTE_MS
    expect(minutes).toBeGreaterThanOrEqual(row.latestMinutes ?? 3)
    // and no later than the longest documented one
    expect(minutes).toBeLessThanOrEqual(360)
  })
})
