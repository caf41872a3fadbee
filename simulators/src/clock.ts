/**
 * The simulated time: that of the caller, shifted by what the control API has said. Everything that expires
 * goes by it; deadlines of a connection and the pauses between redeliveries stay real.
 */

export interface SimulatedClock {
  now(): number
  offsetMs(): number
  /** Sets the shift from the caller's time; it may also go back. */
  setOffset(offsetMs: number): void
}

export function createSimulatedClock(base: () => number): SimulatedClock {
  let offset = 0
  return {
    now: () => base() + offset,
    offsetMs: () => offset,
    setOffset(offsetMs) {
      offset = offsetMs
    },
  }
}
