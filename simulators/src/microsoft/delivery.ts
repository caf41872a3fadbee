/**
 * How Graph hands notifications to the postman: at once, later while the endpoint is slow, never while it is
 * dropped, and not while the caller's access token is over (protocols/microsoft.md §2.4).
 */
import type { FirstAttempt, Parcel } from '../postman.ts'
import type { Subscription } from './subscription.ts'
import type { MicrosoftWorld } from './world.ts'

export interface HeldParcel {
  subscriptionIds: readonly string[]
  parcel: Parcel
  heldAt: number
}

/** Retried for four hours, then lost. */
const heldForMs = 4 * 3_600_000

/** Resolves after the first attempts of what was sent at once. */
export async function deliverAll(world: MicrosoftWorld, parcels: readonly Parcel[]): Promise<FirstAttempt[]> {
  const sent: Promise<FirstAttempt>[] = []
  for (const parcel of parcels) {
    const state = world.endpoints.stateOf(parcel.url)
    if (state === 'drop') world.journal.dropped += 1
    else if (state === 'slow') {
      world.journal.slowed += 1
      world.postman.deliverLater(parcel, world.faults.slowDelayMs)
    } else sent.push(world.postman.deliver(parcel))
  }
  return Promise.all(sent)
}

/** Whether deliveries wait because the token that made or last renewed the subscription is over. */
export function isPaused(world: MicrosoftWorld, subscription: Subscription): boolean {
  return world.faults.pauseOnTokenExpiry && subscription.tokenExpiresAt <= world.now()
}

/** Sends what was held for a subscription that has a living token again. */
export function releaseHeld(world: MicrosoftWorld, subscriptionId: string): void {
  const fresh = world.held.filter((held) => held.heldAt > world.now() - heldForMs)
  const released = fresh.filter((held) => held.subscriptionIds.includes(subscriptionId))
  world.held = fresh.filter((held) => !held.subscriptionIds.includes(subscriptionId))
  for (const { parcel } of released) world.postman.deliverLater(parcel, 0)
}
