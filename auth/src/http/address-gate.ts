/**
 * Cheap admission by address: who was refused too often is answered 503 before anything is read, until some time has
 * passed. Only refusals cost: a provider that sends genuine notifications is never slowed down. Bounded in memory: the
 * addresses that were refused longest ago are forgotten first.
 */

/** Refusals that an address has in hand. */
export const BURST = 200
/** Come back in a second. */
export const PER_SECOND = 20
/** What an address can owe at most: whoever stops is served again within this by `PER_SECOND` seconds. */
const MOST = 2 * BURST
const REMEMBERED = 10_000

export interface AddressGate {
  isBarred(address: string): boolean
  /** @param count of what was refused: one request may hold many forgeries */
  refused(address: string, count: number): void
}

export function openAddressGate(monotonicMs: () => number): AddressGate {
  const spent = new Map<string, { count: number; atMs: number }>()
  const left = (address: string) => {
    const entry = spent.get(address)
    return entry === undefined
      ? 0
      : Math.max(0, entry.count - ((monotonicMs() - entry.atMs) / 1_000) * PER_SECOND)
  }
  return {
    isBarred: (address) => left(address) >= BURST,
    refused(address, refusals) {
      const count = Math.min(MOST, left(address) + refusals)
      // deleted first, so that it moves to the end
      spent.delete(address)
      spent.set(address, { count, atMs: monotonicMs() })
      const oldest = spent.keys().next().value
      if (spent.size > REMEMBERED && oldest !== undefined) spent.delete(oldest)
    },
  }
}
