/** `auth.secret_warnings`: which warnings of an expiring client secret were given, each once. Never a secret. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** @returns the warnings, in days ahead, that are due and were not given before */
export const claimWarnings = async (
  db: Db,
  secret: { provider: string; expiresAt: Date; daysAhead: readonly number[] },
): Promise<number[]> =>
  (
    await db.rows<{ days: number }>(sql`
      insert into auth.secret_warnings (provider, expires_at, days)
      select ${secret.provider}, ${secret.expiresAt}, days from unnest(${secret.daysAhead}::int[]) days
       where ${secret.expiresAt}::timestamptz <= auth.clock() + make_interval(days => days)
      on conflict do nothing returning days`)
  ).map(({ days }) => days)
