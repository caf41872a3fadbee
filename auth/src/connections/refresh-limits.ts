/**
 * How many refreshes this process has under way at each provider, for the worker and for readers together. While a reader
 * waits for a place, the worker leaves the next one to it: a backlog of work never keeps a reader out. How fast they begin
 * is another matter, and one of all processes (refresh-pace.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'

export const REFRESH_CONCURRENCY = 8

/** Permission to have one request under way. It counts until `end`. */
export interface RefreshPlace {
  end(): void
}

export interface RefreshLimits {
  /** For the worker: as many as are free now and wanted by no reader, at most `most`. */
  reserve(provider: string, most: number): RefreshPlace[]
  /** For a reader: waits for one. @returns undefined when there was none within `waitMs` */
  admit(provider: string, waitMs: number): Promise<RefreshPlace | undefined>
}

interface ProviderState {
  taken: number
  waiting: number
}

const ADMIT_POLL_MS = 20

export function openRefreshLimits(
  needs: { readonly monotonicMs: () => number },
  concurrency: number = REFRESH_CONCURRENCY,
): RefreshLimits {
  const states = new Map<string, ProviderState>()
  const stateOf = (provider: string): ProviderState => {
    const known = states.get(provider)
    if (known !== undefined) return known
    const fresh = { taken: 0, waiting: 0 }
    states.set(provider, fresh)
    return fresh
  }

  function place(state: ProviderState): RefreshPlace {
    let ended = false
    state.taken += 1
    return {
      end() {
        if (!ended) state.taken -= 1
        ended = true
      },
    }
  }

  return {
    reserve(provider, most) {
      const state = stateOf(provider)
      const free = Math.max(0, concurrency - state.taken - state.waiting)
      return Array.from({ length: Math.min(most, free) }, () => place(state))
    },
    async admit(provider, waitMs) {
      const state = stateOf(provider)
      const until = needs.monotonicMs() + waitMs
      state.waiting += 1
      try {
        for (;;) {
          if (state.taken < concurrency) return place(state)
          if (needs.monotonicMs() >= until) return undefined
          await pause(ADMIT_POLL_MS)
        }
      } finally {
        state.waiting -= 1
      }
    },
  }
}
