/** How fast a provider's API may be called about subscriptions. Types only. */

/** Requests a second, of all processes together. */
export interface CallLimits {
  /** To make, renew or end one. */
  readonly changesPerSecond?: number
  /** To ask what there is. */
  readonly listsPerSecond?: number
}
