/**
 * Puts many connections with sealed tokens into a database, as if people had connected them an hour of work ago. The
 * access token of a connection is `tokenOf(id)`, so that a reader can tell that it got the right one. For fault tests
 * and benchmarks; it seals with the service's own vault.
 */
import { Secret } from '@flovify/providers'
import pg from 'pg'
import { newId } from '../../auth/src/platform/ids.ts'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'
import { openVault } from '../../auth/src/vault/vault.ts'

export interface TokenSeed {
  readonly databaseUrl: string
  /** The ring; the first is primary. */
  readonly keys: ReadonlyMap<string, Buffer>
  readonly count: number
  /** How long the access tokens still live. */
  readonly validSeconds?: number
}

export const tokenOf = (connectionId: string): string => `access-token-of-${connectionId}`
export const refreshTokenOf = (connectionId: string): string => `refresh-token-of-${connectionId}`

const BATCH = 1_000

/** @returns the ids of the connections */
export async function seedTokens(seed: TokenSeed): Promise<string[]> {
  const vault = openVault(openKeyRing(seed.keys, [...seed.keys.keys()][0] ?? ''))
  const client = new pg.Client({ connectionString: seed.databaseUrl })
  await client.connect()
  try {
    const user = await client.query(
      "insert into auth.users (email) values ('tokens@example.com') on conflict (email) do update set email = excluded.email returning id",
    )
    const ownerId = String(user.rows[0]?.id)
    const ids: string[] = []
    while (ids.length < seed.count) {
      const rows = Array.from({ length: Math.min(BATCH, seed.count - ids.length) }, () => {
        const id = newId('con')
        const context = { purpose: 'oauth_tokens', owner: ownerId, row: id, provider: 'google' } as const
        const dataKey = vault.newDataKey(context)
        const key = vault.open(dataKey, context)
        return {
          id,
          dataKey,
          access: key.seal('access_token', new Secret(tokenOf(id))),
          refresh: key.seal('refresh_token', new Secret(refreshTokenOf(id))),
        }
      })
      await client.query(
        `insert into auth.oauth_tokens
           (id, user_id, owner_id, provider, account_key, account_label, status, data_key, access_token, refresh_token,
            expires_at, issued_at, scope)
         select n.id, u.id, u.id::text, 'google', n.id, 'somebody@example.com', 'active', n.data_key, n.access, n.refresh,
                auth.clock() + make_interval(secs => $6), auth.clock(), 'openid'
           from unnest($1::text[], $2::text[], $3::text[], $4::text[]) n (id, data_key, access, refresh), auth.users u
          where u.id = $5`,
        [
          rows.map((row) => row.id),
          rows.map((row) => row.dataKey),
          rows.map((row) => row.access),
          rows.map((row) => row.refresh),
          ownerId,
          seed.validSeconds ?? 86_400,
        ],
      )
      ids.push(...rows.map((row) => row.id))
    }
    await client.query(
      `insert into auth.refreshes (id, provider, due_at)
       select id, provider, expires_at from auth.oauth_tokens where id = any ($1::text[])`,
      [ids],
    )
    await client.query('analyze auth.oauth_tokens')
    return ids
  } finally {
    await client.end()
  }
}
