/**
 * How many requests may be under way, and how many bytes of their bodies, in all and for each sender. Who finds no place or
 * no room takes that of the one who has been sending a body for longest, if that is longer than a genuine sender needs;
 * else he is refused. So slow bodies hold what they have for ten seconds only while nobody else wants it, and one sender's
 * only against himself.
 */

/** Requests under way, all together. */
export const PLACES = 4_096
/** Of one sender, where senders can be told apart. */
export const PLACES_EACH = 256
/** All bodies that are being read or judged, together. */
const HELD_BYTES = 64 * 1024 * 1024
const HELD_BYTES_EACH = 16 * 1024 * 1024
/** A notification is a few kilobytes: who needs longer than this yields when places are short. */
export const PATIENCE_MS = 1_000

export interface Place {
  /** The body is here: from now on nobody can take this place. */
  settle(): void
  /** @returns whether there is room for so many bytes more; they are held until the request leaves */
  hold(bytes: number): boolean
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
  bytes: number
  readonly cut: () => void
}

/** Sets keep insertion order, so the first of those that are still sending is the oldest. */
interface Scope {
  count: number
  bytes: number
  readonly mostBytes: number
  readonly sending: Set<Taken>
}

export interface PlaceLimits {
  readonly all: number
  readonly each: number
  readonly bytes: number
  readonly bytesEach: number
}

const LIMITS: PlaceLimits = { all: PLACES, each: PLACES_EACH, bytes: HELD_BYTES, bytesEach: HELD_BYTES_EACH }

export function openPlaces(monotonicMs: () => number, limits: PlaceLimits = LIMITS): Places {
  const scopeOf = (mostBytes: number): Scope => ({ count: 0, bytes: 0, mostBytes, sending: new Set() })
  const all = scopeOf(limits.bytes)
  const bySender = new Map<string, Scope>()
  return {
    take(sender, cut) {
      const own = sender === undefined ? undefined : (bySender.get(sender) ?? scopeOf(limits.bytesEach))
      const now = monotonicMs()
      if (own !== undefined && own.count >= limits.each && !takeFrom(own, now)) return 'in_flight_each'
      if (all.count >= limits.all && !takeFrom(all, now)) return 'in_flight'
      const taken: Taken = { sinceMs: now, bytes: 0, cut: () => end(cut) }
      // one's own first: who has too much is refused at his own cost
      const scopes = own === undefined ? [all] : [own, all]
      let isHere = true
      const leave = () => {
        if (!isHere) return
        isHere = false
        for (const scope of scopes) {
          scope.count -= 1
          scope.bytes -= taken.bytes
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
        hold(bytes) {
          for (const scope of scopes)
            while (isHere && scope.bytes + bytes > scope.mostBytes)
              if (!takeFrom(scope, monotonicMs(), taken)) return false
          if (!isHere) return false
          for (const scope of scopes) scope.bytes += bytes
          taken.bytes += bytes
          return true
        },
        leave,
      }
    },
  }
}

/** @returns whether something became free */
function takeFrom({ sending }: Scope, now: number, except?: Taken): boolean {
  for (const oldest of sending) {
    if (oldest === except) continue
    if (now - oldest.sinceMs < PATIENCE_MS) return false
    oldest.cut()
    return true
  }
  return false
}
