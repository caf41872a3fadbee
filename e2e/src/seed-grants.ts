/** Connections whose tokens simulated providers have issued, written into the database. */
import { Secret } from '@flovify/providers'
import type pg from 'pg'
import { newId } from '../../auth/src/platform/ids.ts'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'
import { openVault } from '../../auth/src/vault/vault.ts'

export type ProviderName = 'google' | 'microsoft'

export interface RefreshSeed {
  readonly provider: ProviderName
  readonly count: number
  /** How long the access tokens still live; they were made for an hour. */
  readonly validSeconds: number
  readonly due: boolean
}

/** What the seeded connections are granted. */
export const SCOPES = {
  google: ['openid', 'email', 'https://www.googleapis.com/auth/drive'],
  microsoft: ['openid', 'email', 'offline_access', 'Mail.Send', 'Mail.Read'],
} as const

export interface Grant {
  readonly access_token: string
  readonly refresh_token: string
}

/** Connections of one user, sealed as Auth seals them. @returns their ids */
export async function insertGrants(
  db: pg.Pool,
  encryptionKey: string,
  seed: RefreshSeed,
  grants: readonly Grant[],
): Promise<string[]> {
  const vault = openVault(openKeyRing(new Map([['k0', Buffer.from(encryptionKey, 'base64url')]]), 'k0'))
  const user = await db.query<{ id: string }>(
    `insert into auth.users (email) values ('refresh@example.com')
     on conflict (email) do update set email = excluded.email returning id::text id`,
  )
  const owner = user.rows[0]?.id ?? ''
  const rows = grants.map((grant) => {
    const id = newId('con')
    const context = { purpose: 'oauth_tokens', owner, row: id, provider: seed.provider } as const
    const dataKey = vault.newDataKey(context)
    const key = vault.open(dataKey, context)
    return {
      id,
      dataKey,
      access: key.seal('access_token', new Secret(grant.access_token)),
      refresh: key.seal('refresh_token', new Secret(grant.refresh_token)),
    }
  })
  await db.query(
    `insert into auth.oauth_tokens
       (id, user_id, owner_id, provider, account_key, account_label, status, data_key, access_token, refresh_token,
        expires_at, issued_at, scope, scope_requested)
     select n.id, $5::int, $5::text, $6, n.id, 'somebody@example.com', 'active', n.data_key, n.access, n.refresh,
            auth.clock() + make_interval(secs => $7), auth.clock() + make_interval(secs => $7) - interval '1 hour', $8, $8
       from unnest($1::text[], $2::text[], $3::text[], $4::text[]) n (id, data_key, access, refresh)`,
    [
      rows.map(({ id }) => id),
      rows.map(({ dataKey }) => dataKey),
      rows.map(({ access }) => access),
      rows.map(({ refresh }) => refresh),
      owner,
      seed.provider,
      seed.validSeconds,
      SCOPES[seed.provider].join(' '),
    ],
  )
  await db.query(
    `insert into auth.refreshes (id, provider, due_at)
     select unnest($1::text[]), $2, auth.clock() + case when $3 then interval '0' else interval '1 day' end`,
    [rows.map(({ id }) => id), seed.provider, seed.due],
  )
  return rows.map(({ id }) => id)
}
