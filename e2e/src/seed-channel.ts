/**
 * A live channel of Google (Drive, Calendar) put into the database as if it had been watched, and its messages: unsigned,
 * empty, numbered. For fault tests, which need the door and not the dance. Source: protocols/google.md §4.
 */
import { createHash, randomUUID } from 'node:crypto'
import type pg from 'pg'
import { newId } from '../../auth/src/platform/ids.ts'
import { openChannelKeys } from '../../auth/src/vault/channel-keys.ts'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'

export interface SeededChannel {
  /** `/webhook/events/google/{ref}` */
  readonly path: string
  /** Of message number `n`. */
  headers(n: number): Readonly<Record<string, string>>
}

export const CHANNELS = {
  drive: { resource: 'drive/v3/changes', state: 'change' },
  calendar: { resource: 'calendar/v3/users/me/calendarList', state: 'exists' },
} as const

/** @param client in the transaction that makes the connection @param encryptionKey as in ENCRYPTION_KEY (key `k0`) */
export async function seedChannel(
  client: pg.Client,
  encryptionKey: string,
  connectionId: string,
  kind: keyof typeof CHANNELS,
): Promise<SeededChannel> {
  const keys = openChannelKeys(openKeyRing(new Map([['k0', Buffer.from(encryptionKey, 'base64url')]]), 'k0'))
  const [id, token, channelId, resourceId] = [
    newId('sub'),
    keys.mintChannelSecret().reveal(),
    randomUUID(),
    randomUUID(),
  ]
  const { resource, state } = CHANNELS[kind]
  await client.query(
    `insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, channel_secret_hash, channel_key_id, expires_at)
       values ($1, $2, 'google', $3, $4, 'active', $5, $6, 'k0', now() + interval '6 days')`,
    [
      id,
      connectionId,
      kind,
      resource,
      `${channelId}/${resourceId}`,
      createHash('sha256').update(token).digest(),
    ],
  )
  return {
    path: `/webhook/events/google/${keys.mintRef(id)}`,
    headers: (n) => ({
      'x-goog-channel-id': channelId,
      'x-goog-channel-token': token,
      'x-goog-resource-id': resourceId,
      'x-goog-resource-state': state,
      'x-goog-message-number': `${n}`,
      'x-goog-resource-uri': `https://www.googleapis.com/${resource}?alt=json`,
    }),
  }
}

/** @returns the number of the message that an event's data tells of */
export function messageNumberIn(text: string): number | undefined {
  const found = /"messageNumber":"(\d+)"/.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}
