import type { DeliveryView, EventView } from '@flovify/client/wire'
import { describe, expect, test } from 'vitest'
import { type Feed, mergeNewer, pollAfter } from '../src/event-feed.ts'

const START = Date.parse('2026-11-23T12:00:00Z')
/** Event n was recorded n × 10 seconds after the start. */
const event = (n: number, state?: DeliveryView['state']): EventView => ({
  id: `evt_${n}`,
  type: 'mail.mailbox.v1.notified',
  provider: 'acme',
  origin_type: null,
  subject: null,
  source: '',
  connection_id: null,
  account_label: null,
  time: null,
  received_at: '',
  recorded_at: new Date(START + n * 10_000).toISOString(),
  deliveries: state === undefined ? [] : [{ state } as DeliveryView],
})
const feedOf = (items: EventView[], more: Partial<Feed> = {}): Feed => ({
  items,
  older: 'older',
  head: 'head',
  arrived: 0,
  lastArrived: 0,
  ...more,
})
const ids = (feed: Feed) => feed.items.map(({ id }) => Number(id.slice(4)))

describe('where the next question begins', () => {
  test('with nothing known: at the top', () => {
    expect(pollAfter(undefined)).toBeUndefined()
  })
  test('at the mark of the server when nothing moves, also in an empty list', () => {
    expect(pollAfter(feedOf([event(2, 'delivered'), event(1)]))).toBe('head')
    expect(pollAfter(feedOf([]))).toBe('head')
  })
  test('below the oldest event whose delivery still moves', () => {
    const feed = feedOf([event(6, 'delivered'), event(5, 'open'), event(4, 'dead'), event(3), event(2)])
    expect(pollAfter(feed)).toBe('evt_4')
  })
  test('never closer to the newest than a transaction may be late', () => {
    expect(pollAfter(feedOf([event(6, 'open'), event(5), event(4)]))).toBe('evt_4')
    expect(pollAfter(feedOf([event(6), event(5), event(4)], { head: undefined }))).toBe('evt_4')
  })
  test('at the top when the oldest known event still moves', () => {
    expect(pollAfter(feedOf([event(3), event(2), event(1, 'open')]))).toBeUndefined()
  })
})

describe('merging', () => {
  test('news goes to the top, each event once, and keeps what was loaded below', () => {
    const page = { items: [event(5), event(4), event(3, 'delivered')], head_cursor: 'next' }
    const merged = mergeNewer(feedOf([event(3, 'open'), event(2), event(1)]), { kind: 'newer', page })
    expect(ids(merged)).toEqual([5, 4, 3, 2, 1])
    expect(merged.items[2]?.deliveries[0]?.state).toBe('delivered')
    expect(merged).toMatchObject({ older: 'older', head: 'next', arrived: 2, lastArrived: 2 })
  })
  test('a late commit takes its place between known events', () => {
    const page = { items: [event(5), event(4), event(3)] }
    const merged = mergeNewer(feedOf([event(5), event(3), event(2)]), { kind: 'newer', page })
    expect(ids(merged)).toEqual([5, 4, 3, 2])
    expect(merged.arrived).toBe(1)
  })
  test('nothing new keeps the list and its announcement', () => {
    const feed = feedOf([event(2), event(1)], { arrived: 3, lastArrived: 2 })
    expect(mergeNewer(feed, { kind: 'newer', page: { items: [] } })).toEqual({ ...feed, head: undefined })
  })
  test('a first page that touches the known list continues it', () => {
    const merged = mergeNewer(feedOf([event(2), event(1)]), {
      kind: 'top',
      page: { items: [event(3), event(2)] },
    })
    expect(ids(merged)).toEqual([3, 2, 1])
    expect(merged.older).toBe('older')
  })
  test('a first page far above the known list replaces it: a gap is never shown as if it were whole', () => {
    const page = { items: [event(99), event(98)], next_cursor: 'below 98' }
    const merged = mergeNewer(feedOf([event(2), event(1)]), { kind: 'top', page })
    expect(ids(merged)).toEqual([99, 98])
    expect(merged.older).toBe('below 98')
  })
  test('the first page of all is not news', () => {
    const merged = mergeNewer(undefined, { kind: 'top', page: { items: [event(1)], next_cursor: 'c' } })
    expect(merged).toMatchObject({ older: 'c', arrived: 0 })
  })
})
