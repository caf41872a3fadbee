/** What a change of keys goes by: keys, live processes, rows and subscriptions that name a key. Changes status only. */
import type { Db } from '../db/sql.ts'
import { join, raw, sql } from '../db/sql.ts'
import { PURPOSES } from './sealed-tables.ts'

export interface KeyRow {
  readonly key_id: string
  readonly status: 'primary' | 'decrypt' | 'disabled'
  readonly check_value: Buffer
  readonly created_at: Date
  readonly first_primary_at: Date | null
  readonly disabled_at: Date | null
}

export const findKeyRows = (db: Db) =>
  db.rows<KeyRow>(sql`
    select key_id, status, check_value, created_at, first_primary_at, disabled_at from auth.vault_keys
     order by created_at, key_id`)

export interface LiveProcess {
  readonly id: string
  readonly role: string
  readonly version: string
  readonly key_ids: readonly string[]
  readonly sealing_with: string
  readonly seen_seconds: number
}

/** Fifteen missed heartbeats: whoever is silent for longer has ended. Real time, like the heartbeat. */
const LIVE_SECONDS = 30

export const findLiveProcesses = (db: Db) =>
  db.rows<LiveProcess>(sql`
    select id, role, version, key_ids, sealing_with, extract(epoch from now() - seen_at)::float8 seen_seconds
      from auth.processes where seen_at > now() - make_interval(secs => ${LIVE_SECONDS}) order by started_at, id`)

export interface RowsOfKey {
  readonly key: string
  readonly table: string
  readonly rows: number
}

/** Rows with a data key, by the key that wraps it and by table. Wiped rows name no key. */
export const countRowsByKey = (db: Db) =>
  db.rows<RowsOfKey>(
    join(
      PURPOSES.map(
        (table) => sql`
          select split_part(data_key, '.', 2) "key", ${table}::text "table", count(*)::int "rows"
            from auth.${raw(table)} where data_key <> '' group by 1`,
      ),
      ' union all ',
    ),
  )

/** Subscriptions whose ref and channel secret at the provider were minted under the key. @returns until when the last lives */
export const countSubscriptionsOf = (db: Db, keyId: string) =>
  db.one<{ count: number; until: Date | null }>(sql`
    select count(*)::int count, max(expires_at) until from auth.subscriptions
     where channel_key_id = ${keyId} and state in ('wanted', 'active')
       and (expires_at is null or expires_at > auth.clock())`)

export const makePrimary = async (tx: Db, keyId: string): Promise<void> => {
  await tx.rows(sql`update auth.vault_keys set status = 'decrypt' where status = 'primary'`)
  await tx.rows(sql`
    update auth.vault_keys set status = 'primary', first_primary_at = coalesce(first_primary_at, auth.clock())
     where key_id = ${keyId}`)
}

export const makeDisabled = (tx: Db, keyId: string) =>
  tx.rows(
    sql`update auth.vault_keys set status = 'disabled', disabled_at = auth.clock() where key_id = ${keyId}`,
  )
