/**
 * How many requests may be under way, in all and for each sender. Who finds no place takes that of the one who has been
 * sending a body for longest, if that is longer than a genuine sender needs; else he is refused. So slow bodies hold
 * places for ten seconds only while nobody else wants them, and one sender's only against himself.
 */

/** Requests under way, all together. */
export const PLACES = 4_096
/** Of one sender, where senders can be told apart. */
export const PLACES_EACH = 256
/** A notification is a few kilobytes: who needs longer than this yields when places are short. */
export const PATIENCE_MS = 1_000

export interface Place {
  /** The body is here: from now on nobody can take this place. */
  settle(): void
  leave(): void
}

export interface Places {
  /**
   * @param sender undefined where senders cannot be told apart
   * @param cut ends the request, when its place is taken
   */
  take(sender: string | undefined, cut: () => void): Place | 'in_flight' | 'in_flight_each'
}

interface Taken {
  readonly sinceMs: number
  readonly cut: () => void
}

/** Sets keep insertion order, so the first of those that are still sending is the oldest. */
interface Scope {
  count: number
  readonly sending: Set<Taken>
}

export interface PlaceLimits {
  readonly all: number
  readonly each: number
}

export function openPlaces(
  monotonicMs: () => number,
  limits: PlaceLimits = { all: PLACES, each: PLACES_EACH },
): Places {
  const all: Scope = { count: 0, sending: new Set() }
  const bySender = new Map<string, Scope>()
  return {
    take(sender, cut) {
      const own =
        sender === undefined ? undefined : (bySender.get(sender) ?? { count: 0, sending: new Set() })
      const now = monotonicMs()
      if (own !== undefined && own.count >= limits.each && !takeFrom(own, now)) return 'in_flight_each'
      if (all.count >= limits.all && !takeFrom(all, now)) return 'in_flight'
      const taken: Taken = { sinceMs: now, cut: () => end(cut) }
      const scopes = own === undefined ? [all] : [all, own]
      let isHere = true
      const leave = () => {
        if (!isHere) return
        isHere = false
        for (const scope of scopes) {
          scope.count -= 1
          scope.sending.delete(taken)
        }
        if (sender !== undefined && own?.count === 0) bySender.delete(sender)
      }
      // the place is free at once, whenever the request itself has ended
      const end = (then: () => void) => {
        leave()
        then()
      }
      for (const scope of scopes) {
        scope.count += 1
        scope.sending.add(taken)
      }
      if (sender !== undefined && own !== undefined) bySender.set(sender, own)
      return {
        settle: () => {
          for (const scope of scopes) scope.sending.delete(taken)
        },
        leave,
      }
    },
  }
}

/** @returns whether a place became free */
function takeFrom({ sending }: Scope, now: number): boolean {
  const [oldest] = sending
  if (oldest === undefined || now - oldest.sinceMs < PATIENCE_MS) return false
  oldest.cut()
  return true
}
