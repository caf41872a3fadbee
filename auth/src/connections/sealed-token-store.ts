/**
 * Reads sealed access tokens with what says whether they are still good, by the database's clock. Reads that come together
 * share one statement. Never writes, never sees a plain token.
 */
import { type ConnectionScope, within } from '../db/connection-scope.ts'
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { openTogether } from '../db/together.ts'

export interface SealedToken {
  readonly id: string
  readonly owner_id: string
  readonly provider: string
  readonly status: string
  readonly status_reason: string | null
  readonly data_key: string | null
  readonly access_token: string | null
  readonly expires_at: Date | null
  readonly scope: string
  readonly version: number
  /** Valid for at least the asked time; of a short-lived token at most nine tenths are asked, or a minute. */
  readonly fresh: boolean
  /** Valid at all. */
  readonly valid: boolean
}

export interface SealedTokens {
  find(
    connectionId: string,
    minValidSeconds: number,
    scope: ConnectionScope,
  ): Promise<SealedToken | undefined>
}

interface Wanted {
  readonly id: string
  readonly minValidSeconds: number
}

/** @returns a door for many: who may touch every connection shares statements, named callers have their own */
export function openSealedTokens(db: Db): SealedTokens {
  const all = openTogether((wanted: readonly Wanted[]) => findTogether(db, wanted), { most: 128, atOnce: 4 })
  return {
    find: (id, minValidSeconds, scope) =>
      scope.kind === 'all'
        ? all.add({ id, minValidSeconds })
        : findSealedToken(db, id, minValidSeconds, scope),
  }
}

const columns = { id: sql`t.id`, owner: sql`t.owner_id`, provider: sql`t.provider` }

/** Of a connection `t` and an asked time `n`. */
const selected = sql`t.id, t.owner_id, t.provider, t.status, t.status_reason, t.data_key, t.access_token, t.expires_at, t.scope, t.version,
  coalesce(t.expires_at > auth.clock() + least(make_interval(secs => n.seconds),
                                               greatest(interval '1 minute', (t.expires_at - t.issued_at) * 0.9)), false) fresh,
  coalesce(t.expires_at > auth.clock(), false) valid`

export const findSealedToken = (
  db: Db,
  connectionId: string,
  minValidSeconds: number,
  scope: ConnectionScope,
) =>
  db.one<SealedToken>(sql`
    select ${selected} from auth.oauth_tokens t, (values (${minValidSeconds}::float8)) n (seconds)
     where t.id = ${connectionId} and ${within(scope, columns)}`)

async function findTogether(
  db: Db,
  wanted: readonly Wanted[],
): Promise<readonly (SealedToken | undefined)[]> {
  const rows = await db.rows<SealedToken & { nth: number }>(
    sql`
      select n.nth::int nth, ${selected}
        from unnest(${wanted.map(({ id }) => id)}::text[], ${wanted.map(({ minValidSeconds }) => minValidSeconds)}::float8[])
             with ordinality n (id, seconds, nth)
        join auth.oauth_tokens t on t.id = n.id`,
    'find-sealed-tokens',
  )
  const found = new Map(rows.map((row) => [row.nth, row]))
  return wanted.map((_, i) => found.get(i + 1))
}
