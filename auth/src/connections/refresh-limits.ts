/**
 * How fast this process may refresh at each provider, for the worker and for readers together: at most so many requests
 * at once and so many begun in any second (a sliding window: a bucket would let its burst come on top). After several
 * failures in a row that say "the provider is down", one probe at a time, with growing pauses between; after a throttled
 * answer nobody asks that provider for as long as it said. In one process only: with n working processes the provider
 * sees up to n times the rate. Times are monotonic and real: no test moves them but by its own clock.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Failure } from '@flovify/providers'
import { askedSeconds } from './refresh-schedule.ts'

export interface RefreshLimitOptions {
  readonly concurrency: number
  readonly perSecond: number
}

export const REFRESH_LIMITS: RefreshLimitOptions = { concurrency: 8, perSecond: 50 }

/** Permission for one request. It counts until `end`, and in the window from `begin`. */
export interface RefreshSlot {
  begin(): void
  end(): void
}

export interface RefreshLimits {
  /** As many as are free now, at most `most`; none while the provider is left alone. */
  reserve(provider: string, most: number): RefreshSlot[]
  /** Waits for one. @returns undefined when there was none within `waitMs` or the provider is left alone */
  admit(provider: string, waitMs: number): Promise<RefreshSlot | undefined>
  /** Seconds for which the provider is left alone; 0 when it may be asked. */
  heldSeconds(provider: string): number
  /** The provider answered something that is no sign of being down. */
  answered(provider: string): void
  failed(provider: string, failure: Failure): void
}

interface ProviderState {
  reserved: number
  running: number
  begun: number[]
  heldUntilMs: number
  failuresInARow: number
}

/** One failure is an accident, five in a row without any success between them are the provider. */
const DOWN_AFTER = 5
const LEAST_PAUSE_MS = 5_000
/** Short against the five minutes within which work must go on after a recovery. */
const MOST_PAUSE_MS = 60_000
const MOST_HELD_MS = 300_000
const WINDOW_MS = 1_000
const ADMIT_POLL_MS = 20

export function openRefreshLimits(
  needs: { readonly monotonicMs: () => number; readonly random: () => number },
  options: RefreshLimitOptions = REFRESH_LIMITS,
): RefreshLimits {
  const states = new Map<string, ProviderState>()
  const stateOf = (provider: string): ProviderState => {
    const known = states.get(provider)
    if (known !== undefined) return known
    const fresh = { reserved: 0, running: 0, begun: [], heldUntilMs: 0, failuresInARow: 0 }
    states.set(provider, fresh)
    return fresh
  }

  function free(state: ProviderState): number {
    const now = needs.monotonicMs()
    if (now < state.heldUntilMs) return 0
    while (state.begun[0] !== undefined && state.begun[0] <= now - WINDOW_MS) state.begun.shift()
    const concurrency = state.failuresInARow >= DOWN_AFTER ? 1 : options.concurrency
    return Math.max(
      0,
      Math.min(
        concurrency - state.reserved - state.running,
        options.perSecond - state.reserved - state.begun.length,
      ),
    )
  }

  function slot(state: ProviderState): RefreshSlot {
    let stage: 'reserved' | 'running' | 'ended' = 'reserved'
    state.reserved += 1
    return {
      begin() {
        if (stage !== 'reserved') return
        stage = 'running'
        state.reserved -= 1
        state.running += 1
        state.begun.push(needs.monotonicMs())
      },
      end() {
        if (stage === 'reserved') state.reserved -= 1
        if (stage === 'running') state.running -= 1
        stage = 'ended'
      },
    }
  }

  const reserve = (provider: string, most: number): RefreshSlot[] => {
    const state = stateOf(provider)
    return Array.from({ length: Math.min(most, free(state)) }, () => slot(state))
  }
  const heldSeconds = (provider: string): number =>
    Math.max(0, stateOf(provider).heldUntilMs - needs.monotonicMs()) / 1000

  return {
    reserve,
    heldSeconds,
    async admit(provider, waitMs) {
      const until = needs.monotonicMs() + waitMs
      for (;;) {
        const [granted] = reserve(provider, 1)
        if (granted !== undefined) return granted
        if (heldSeconds(provider) > 0 || needs.monotonicMs() >= until) return undefined
        await pause(ADMIT_POLL_MS)
      }
    },
    answered(provider) {
      stateOf(provider).failuresInARow = 0
    },
    failed(provider, failure) {
      const state = stateOf(provider)
      const hold = (ms: number) => {
        state.heldUntilMs = Math.max(state.heldUntilMs, needs.monotonicMs() + Math.min(MOST_HELD_MS, ms))
      }
      const asked = askedSeconds(failure)
      if (asked !== undefined) hold(asked * 1000)
      if (failure.class === 'throttled') return
      state.failuresInARow += 1
      if (state.failuresInARow < DOWN_AFTER) return
      const longest = Math.min(MOST_PAUSE_MS, LEAST_PAUSE_MS * 2 ** (state.failuresInARow - DOWN_AFTER))
      hold(longest * (0.5 + 0.5 * needs.random()))
    },
  }
}
