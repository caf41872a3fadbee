/**
 * Warns of our own client secrets that expire at a provider: 60, 30 and 7 days ahead and when it is over, once each over
 * all processes and restarts. An expired secret stops every refresh and every connecting at that provider, and no provider
 * tells before. The date is the operator's; nothing here knows a secret.
 */
import type { Provider } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import { claimWarnings } from './client-secret-store.ts'

export interface SecretExpiry {
  readonly provider: string
  readonly label: string
  readonly expiresAt: Date
}

const DAYS_AHEAD = [60, 30, 7, 0]
const SHOWN_DAYS = 60
const DAY_MS = 86_400_000

export const secretExpiries = (providers: Iterable<Provider>): SecretExpiry[] =>
  [...providers].flatMap(({ id, label, clientSecretExpiresAt: expiresAt }) =>
    expiresAt === undefined ? [] : [{ provider: id, label, expiresAt }],
  )

/** The chore. Several warnings that are due at once, as at a first start, are one line. */
export async function warnOfSecrets(
  needs: { readonly db: Db; readonly log: Log },
  expiries: readonly SecretExpiry[],
): Promise<void> {
  for (const { provider, expiresAt } of expiries) {
    const due = await claimWarnings(needs.db, { provider, expiresAt, daysAhead: DAYS_AHEAD })
    if (due.length === 0) continue
    const days = Math.min(...due)
    const fields = { provider, expires_at: expiresAt.toISOString() }
    if (days === 0)
      needs.log.error(
        fields,
        'alarm: the client secret has expired: no token of this provider can be refreshed',
      )
    else
      needs.log.warn(
        { ...fields, days },
        'alarm: the client secret expires within these days: make a new one at the provider and configure it',
      )
  }
}

export const secondsLeft = (expiry: SecretExpiry, now: Date): number =>
  Math.floor((expiry.expiresAt.getTime() - now.getTime()) / 1000)

/** Sentences for whoever looks whether the service is ready; it is, whatever they say. */
export function noticesOfSecrets(expiries: readonly SecretExpiry[], now: Date): string[] {
  return expiries.flatMap((expiry) => {
    const days = (expiry.expiresAt.getTime() - now.getTime()) / DAY_MS
    if (days > SHOWN_DAYS) return []
    if (days <= 0) return [`the client secret of ${expiry.label} has expired`]
    return [`the client secret of ${expiry.label} expires in ${Math.ceil(days)} days`]
  })
}
