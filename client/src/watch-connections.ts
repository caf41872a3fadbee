/**
 * Watches connections by asking for the events that are newer than a cursor. The service's cursor stays some seconds
 * back, so that nothing that commits late is skipped; what comes twice because of that is dropped here. A service that
 * is away is asked again; a refused credential ends the watch.
 */
import { ConnectError } from './connect-error.ts'
import { type ClientOptions, requestJson } from './request.ts'
import type { EventView, Page } from './wire.ts'

export interface WatchOptions {
  /** From `resume` of an earlier change; without it the watch begins now. */
  readonly after?: string
  /** Types without prefix: `connection.v1.*` unless given, or one of them: `connection.v1.revoked`. */
  readonly type?: string
  /** Between two questions. Default 2,000 ms. */
  readonly pollMs?: number
  /** Ends the watch; the iterator then finishes without an error. */
  readonly signal?: AbortSignal
}

export interface ConnectionChange {
  readonly event: EventView
  /** Keep it to go on after a restart: what came with or after this change comes again, nothing is skipped. */
  readonly resume: string
}

const POLL_MS = 2_000
const PAGE = 100

export async function* watchConnections(
  options: ClientOptions,
  wanted: WatchOptions,
): AsyncGenerator<ConnectionChange, void, undefined> {
  const { signal, pollMs = POLL_MS, type = 'connection.v1.*' } = wanted
  let after: string
  let seen: ReadonlySet<string> = new Set()
  if (wanted.after !== undefined) after = wanted.after
  else {
    const start = await untilAnswered(() => requestPage(options, { type, limit: 1 }), pollMs, signal)
    if (start?.head_cursor === undefined) return
    after = start.head_cursor
    const from: string = after
    const before = await untilAnswered(() => readNewer(options, type, from), pollMs, signal)
    if (before === undefined) return
    seen = new Set(before.items.map(({ id }) => id))
  }
  while (signal?.aborted !== true) {
    const from: string = after
    const page = await untilAnswered(() => readNewer(options, type, from), pollMs, signal)
    if (page === undefined) return
    for (const event of page.items) {
      if (seen.has(event.id)) continue
      yield { event, resume: from }
      if (isOver(signal)) return
    }
    seen = new Set(page.items.map(({ id }) => id))
    after = page.head
    await pause(pollMs, signal)
  }
}

const isOver = (signal: AbortSignal | undefined): boolean => signal?.aborted === true

interface Newer {
  readonly items: readonly EventView[]
  readonly head: string
}

/** All that is newer, oldest first, and where to go on. */
async function readNewer(options: ClientOptions, type: string, after: string): Promise<Newer> {
  const first = await requestPage(options, { type, limit: PAGE, after })
  const items = [...first.items]
  for (let cursor = first.next_cursor; cursor !== undefined; ) {
    const page = await requestPage(options, { type, limit: PAGE, after, cursor })
    items.push(...page.items)
    cursor = page.next_cursor
  }
  return { items: items.reverse(), head: first.head_cursor ?? after }
}

const requestPage = async (options: ClientOptions, query: Record<string, string | number>) =>
  (await requestJson(options, { method: 'GET', path: '/internal/events', query })) as Page<EventView>

/** @returns undefined when the signal has aborted */
async function untilAnswered<T>(
  ask: () => Promise<T>,
  pollMs: number,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  while (!isOver(signal)) {
    try {
      return await ask()
    } catch (error) {
      // 0: no answer; 429 and 5xx: later. Anything else is a mistake that waiting does not repair.
      const passes =
        error instanceof ConnectError && (error.status === 0 || error.status === 429 || error.status >= 500)
      if (!passes) throw error
      await pause(pollMs, signal)
    }
  }
  return undefined
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (isOver(signal)) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
