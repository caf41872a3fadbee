/** A thousand connections whose tokens are canaries, sealed by the service's own vault and written straight to the table. */
import pg from 'pg'
import { newId } from '../../../auth/src/platform/ids.ts'
import { openKeyRing } from '../../../auth/src/vault/key-ring.ts'
import { openVault, type Vault } from '../../../auth/src/vault/vault.ts'
import { Secret } from '../../../providers/src/secret.ts'
import type { Trail } from './trail.ts'

export const vaultOf = (encryptionKey: string): Vault =>
  openVault(openKeyRing(new Map([['k0', Buffer.from(encryptionKey, 'base64url')]]), 'k0'))

export async function seedConnections(
  databaseUrl: string,
  vault: Vault,
  trail: Trail,
  count: number,
): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const user = await client.query<{ id: number }>(
      `insert into auth.users (email, name) values ('canaries@example.com', 'Canaries') returning id`,
    )
    const owner = String(user.rows[0]?.id)
    const rows = Array.from({ length: count }, (_, i) => {
      const id = newId('con')
      const provider = i % 2 === 0 ? 'microsoft' : 'google'
      const context = { purpose: 'oauth_tokens', owner, row: id, provider } as const
      const dataKey = vault.newDataKey(context)
      const key = vault.open(dataKey, context)
      return {
        id,
        provider,
        account: `account-${i}`,
        dataKey,
        access: key.seal('access_token', new Secret(trail.made('access token in the vault'))),
        refresh: key.seal('refresh_token', new Secret(trail.made('refresh token in the vault'))),
      }
    })
    await client.query(
      `insert into auth.oauth_tokens
         (id, user_id, owner_id, provider, account_key, account_label, status, data_key, access_token, refresh_token, expires_at)
       select t.id, $1::int, $1::text, t.provider, t.account, t.account, 'active', t.data_key, t.access, t.refresh, now() + interval '1 hour'
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
           as t (id, provider, account, data_key, access, refresh)`,
      [
        owner,
        ...(['id', 'provider', 'account', 'dataKey', 'access', 'refresh'] as const).map((name) =>
          rows.map((row) => row[name]),
        ),
      ],
    )
  } finally {
    await client.end()
  }
}
