/**
 * The live list of events as data: what is known, from where to ask for news, and how news is merged. Pure. Order is
 * the server's; an event is shown once.
 */
import type { EventView, Page } from '@flovify/client/wire'

export interface Feed {
  /** Newest first. */
  readonly items: readonly EventView[]
  /** Cursor of the events before the last one; undefined when that was the first ever. */
  readonly older: string | undefined
  /** The server's own mark of where this list was read: some seconds back, so that late commits are not skipped. */
  readonly head: string | undefined
  /** How many events came in while the page was looking, and how many of them last. */
  readonly arrived: number
  readonly lastArrived: number
}

export type News =
  | { readonly kind: 'top'; readonly page: Page<EventView> }
  | { readonly kind: 'newer'; readonly page: Page<EventView> }

/** Events further down are not asked for again while they wait: a poll stays one small page. */
const WATCHED = 40

/** A transaction that began earlier may commit later: nobody continues from closer to the newest than this. */
const LATE_COMMIT_MS = 15_000

/**
 * From where to ask for news: the server's mark, or, while deliveries still move, an event below the oldest of those,
 * so that the same question renews them.
 * @returns undefined: ask for the first page
 */
export function pollAfter(feed: Feed | undefined): string | undefined {
  if (feed === undefined) return undefined
  const unsettled = feed.items.slice(0, WATCHED).findLastIndex((event) => !isSettled(event))
  if (unsettled < 0 && feed.head !== undefined) return feed.head
  const newest = Date.parse(feed.items[0]?.recorded_at ?? '')
  const isSafe = (event: EventView): boolean => newest - Date.parse(event.recorded_at) >= LATE_COMMIT_MS
  return feed.items.slice(unsettled + 1).find(isSafe)?.id
}

export function mergeNewer(feed: Feed | undefined, news: News): Feed {
  const { items: fresh, next_cursor, head_cursor: head } = news.page
  if (feed === undefined) return { items: fresh, older: next_cursor, head, arrived: 0, lastArrived: 0 }
  const known = new Set(feed.items.map(({ id }) => id))
  const count = fresh.filter(({ id }) => !known.has(id)).length
  const counted = { arrived: feed.arrived + count, lastArrived: count > 0 ? count : feed.lastArrived }
  const touches = fresh.some(({ id }) => known.has(id)) || feed.items.length === 0
  if (news.kind === 'top' && !touches) return { items: fresh, older: next_cursor, head, ...counted }
  const renewed = new Set(fresh.map(({ id }) => id))
  const kept = feed.items.filter(({ id }) => !renewed.has(id))
  const older = feed.items.length === 0 ? next_cursor : feed.older
  return { items: [...fresh, ...kept], older, head, ...counted }
}

function isSettled(event: EventView): boolean {
  return event.deliveries.every(({ state }) => state !== 'open')
}
