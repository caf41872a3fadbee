/** What a fault of a key rotation asks the database, and what it does to it. It opens rows with the service's own vault. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'
import { openVault } from '../../auth/src/vault/vault.ts'
import { refreshTokenOf, tokenOf } from './seed-tokens.ts'

/** The rewrap that has not ended. */
export async function openRun(db: pg.Pool): Promise<{ done: number; total: number } | undefined> {
  const { rows } = await db.query<{ done: number; total: number }>(
    'select done::int, total::int from auth.rewraps where ended_at is null',
  )
  return rows[0]
}

/** Connections whose data key is wrapped by this key. */
export async function rowsOn(db: pg.Pool, keyId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    "select count(*)::int count from auth.oauth_tokens where split_part(data_key, '.', 2) = $1 and data_key <> ''",
    [keyId],
  )
  return rows[0]?.count ?? -1
}

/** Rows whose tokens a refresh has written: what it brings lives for less than two hours, what was seeded for a day. */
export async function refreshedRows(db: pg.Pool): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `select count(*)::int count from auth.oauth_tokens
      where expires_at between auth.clock() + interval '10 min' and auth.clock() + interval '2 hours'`,
  )
  return rows[0]?.count ?? -1
}

/** Lets some tokens be nearly over, ever again: the next read, or the worker, refreshes them. */
export function expireSome(db: pg.Pool, ids: readonly string[], perSecond: number) {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      const some = Array.from({ length: perSecond }, () => ids[Math.floor(Math.random() * ids.length)])
      await db.query(
        `with over as (
           update auth.oauth_tokens set expires_at = auth.clock() + interval '50 s' where id = any ($1::text[]) returning id
         )
         update auth.refreshes r set due_at = auth.clock() from over where r.id = over.id and r.lease_id is null`,
        [some],
      )
      await sleep(1_000)
    }
  })()
  return {
    stop: async () => {
      stopped = true
      await running
    },
  }
}

/** Rows whose tokens do not open with the ring's second key alone, or are not the ones that were sealed. */
export async function findBroken(db: pg.Pool, ring: string): Promise<number> {
  const k1 = Buffer.from(ring.split(':')[1] ?? '', 'base64url')
  const vault = openVault(openKeyRing(new Map([['k1', k1]]), 'k1'))
  const { rows } = await db.query<
    Record<'id' | 'owner_id' | 'data_key' | 'access_token' | 'refresh_token', string>
  >('select id, owner_id, data_key, access_token, refresh_token from auth.oauth_tokens')
  return rows.filter((row) => {
    try {
      const context = {
        purpose: 'oauth_tokens',
        owner: row.owner_id,
        row: row.id,
        provider: 'google',
      } as const
      const key = vault.open(row.data_key, context)
      return (
        key.unseal('access_token', row.access_token).reveal() !== tokenOf(row.id) ||
        key.unseal('refresh_token', row.refresh_token).reveal() !== refreshTokenOf(row.id)
      )
    } catch {
      return true
    }
  }).length
}
