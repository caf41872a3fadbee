/**
 * How many calls this process has under way for one connection. Providers bound what is asked of one mailbox at a time
 * (protocols/microsoft.md §5: four), and its subscriptions like to fall due together. Kept in memory: no place outlives
 * its process.
 */
export interface CallPlaces {
  /** Waits for a place, works, and gives the place back. @throws what the signal or the work throws */
  within<T>(connectionId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>
}

/** Half of what a mailbox bears: another process, and the user's own programs, want some too. */
const PLACES = 2

export function openCallPlaces(places: number = PLACES): CallPlaces {
  const states = new Map<string, { taken: number; readonly waiting: (() => void)[] }>()
  return {
    async within(connectionId, signal, work) {
      const state = states.get(connectionId) ?? { taken: 0, waiting: [] }
      states.set(connectionId, state)
      while (state.taken >= places) await next(state.waiting, signal)
      state.taken += 1
      try {
        return await work()
      } finally {
        state.taken -= 1
        const woken = state.waiting.shift()
        // whoever is woken still reckons with this state
        if (woken !== undefined) woken()
        else if (state.taken === 0) states.delete(connectionId)
      }
    },
  }
}

/** Until a place is free or the signal aborts. */
function next(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const wake = () => {
      signal.removeEventListener('abort', abort)
      resolve()
    }
    const abort = () => {
      const at = waiting.indexOf(wake)
      if (at >= 0) waiting.splice(at, 1)
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    waiting.push(wake)
  })
}
