/**
 * Puts a connected account with a live subscription into a database, as if a person had connected it, and makes genuine
 * notifications for it. For fault tests and benchmarks, which need the door and not the dance. It uses the service's
 * own vault keys, so it needs the same ENCRYPTION_KEY.
 */
import { createHash, randomBytes } from 'node:crypto'
import pg from 'pg'
import { newId } from '../../auth/src/platform/ids.ts'
import { openChannelKeys } from '../../auth/src/vault/channel-keys.ts'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'

export interface Seeded {
  readonly connectionId: string
  readonly ownerId: string
  /** `/webhook/events/microsoft/{ref}` */
  readonly path: string
  /** A Graph change notification about one new message for each `n`, which makes it unique. */
  notification(...n: (number | string)[]): Buffer
}

/** @param encryptionKey as in ENCRYPTION_KEY (key `k0`) */
export async function seedSubscription(
  databaseUrl: string,
  encryptionKey: string,
  email = 'bench@example.com',
): Promise<Seeded> {
  const keys = openChannelKeys(openKeyRing(new Map([['k0', Buffer.from(encryptionKey, 'base64url')]]), 'k0'))
  const subscriptionId = newId('sub')
  const connectionId = newId('con')
  const secret = keys.mintChannelSecret().reveal()
  const graphId = crypto.randomUUID()
  const tenant = crypto.randomUUID()
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const user = await client.query(
      'insert into auth.users (email, name) values ($1, $1) on conflict (email) do update set name = excluded.name returning id',
      [email],
    )
    const ownerId = String(user.rows[0]?.id)
    // together: what is connected and not subscribed is subscribed by the service
    await client.query('begin')
    await client.query(
      `insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, tenant, status, scope)
       values ($1, $2, $3, 'microsoft', $4, $5, $6, 'active', 'Mail.Read')`,
      [connectionId, ownerId, ownerId, `${tenant}:${crypto.randomUUID()}`, email, tenant],
    )
    await client.query(
      `insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, channel_secret_hash, channel_key_id, expires_at)
       values ($1, $2, 'microsoft', 'mail', 'me/messages', 'active', $3, $4, 'k0', now() + interval '6 days')`,
      [subscriptionId, connectionId, graphId, createHash('sha256').update(secret).digest()],
    )
    await client.query('commit')
    return {
      connectionId,
      ownerId,
      path: `/webhook/events/microsoft/${keys.mintRef(subscriptionId)}`,
      notification: (...n) => graphNotification({ graphId, tenant, secret }, n),
    }
  } finally {
    await client.end()
  }
}

/** About 900 bytes an item, as Graph sends them. Source: protocols, Graph change notification payload. */
function graphNotification(
  of: { graphId: string; tenant: string; secret: string },
  changes: readonly (number | string)[],
): Buffer {
  const value = changes.map((n) => {
    const id = `AAMkADNkNAAAq${n}${'x'.repeat(80)}`
    const resource = `Users/8ee44408-0679-472c-bc2a-692812af3437@${of.tenant}/Messages/${id}`
    return {
      subscriptionId: of.graphId,
      subscriptionExpirationDateTime: '2027-01-19T22:11:09.952Z',
      clientState: of.secret,
      changeType: 'created',
      resource,
      tenantId: of.tenant,
      resourceData: {
        '@odata.type': '#Microsoft.Graph.Message',
        '@odata.id': resource,
        '@odata.etag': `W/"CQAAABYAAADk${n}"`,
        id,
      },
    }
  })
  return Buffer.from(JSON.stringify({ value }))
}

/** 32 random bytes in the form of ENCRYPTION_KEY. */
export const newEncryptionKey = (): string => `${randomBytes(32).toString('base64url')}=`
