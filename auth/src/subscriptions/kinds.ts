/** The kinds of due row of this room. */
export const RENEWALS = 'subscription_renewals'
export const STOPS = 'subscription_stops'
export const CHECKS = 'subscription_checks'
