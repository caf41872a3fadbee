/** The one writer of auth.destinations, except for what the claim keeps there (`store.ts`). Secrets come sealed. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface DestinationRow {
  readonly id: string
  readonly name: string
  readonly url: string
  readonly concurrency: number
  readonly rate_per_second: number | null
  readonly timeout_ms: number
  readonly paused: boolean
  readonly created_at: Date
}

export interface SealedDestination {
  readonly id: string
  readonly url: string
  readonly data_key: string
  readonly secret: string
}

export interface DestinationInsert extends SealedDestination {
  readonly name: string
  /** Undefined: the column's default. */
  readonly concurrency: number | undefined
  readonly rate_per_second: number | undefined
  readonly timeout_ms: number | undefined
}

export async function insertDestination(db: Db, row: DestinationInsert): Promise<void> {
  await db.rows(sql`
    insert into auth.destinations (id, name, url, data_key, secret, concurrency, rate_per_second, timeout_ms)
    values (${row.id}, ${row.name}, ${row.url}, ${row.data_key}, ${row.secret},
            coalesce(${row.concurrency ?? null}::int, 10), ${row.rate_per_second ?? null}::int, coalesce(${row.timeout_ms ?? null}::int, 15000))`)
}

export function listDestinations(db: Db): Promise<DestinationRow[]> {
  return db.rows<DestinationRow>(sql`
    select id, name, url, concurrency, rate_per_second, timeout_ms, paused, created_at
      from auth.destinations where deleted_at is null order by created_at, id limit 1000`)
}

export async function changeDestinationUrl(db: Db, id: string, url: string): Promise<void> {
  await db.rows(sql`update auth.destinations set url = ${url} where id = ${id}`)
}

/**
 * The full lock, unlike the claim's: it waits for every transaction that is inserting deliveries for the destination
 * (their foreign key holds a key share), so that what they insert is there to be cancelled.
 */
export async function lockDestinationForDeletion(db: Db, id: string): Promise<boolean> {
  const row = await db.one(sql`
    select id from auth.destinations where id = ${id} and deleted_at is null for update`)
  return row !== undefined
}

/** The secret goes with it: what is deleted can sign nothing any more. */
export async function markDestinationDeleted(db: Db, id: string): Promise<void> {
  await db.rows(sql`
    update auth.destinations set deleted_at = auth.clock(), data_key = '', secret = '' where id = ${id}`)
}

export function findDestinationByName(db: Db, name: string): Promise<SealedDestination | undefined> {
  return db.one<SealedDestination>(sql`
    select id, url, data_key, secret from auth.destinations
     where name = ${name} and deleted_at is null order by created_at limit 1`)
}

/** Held until the transaction ends: two processes that start at once make one local destination. */
export async function lockLocalDestination(db: Db): Promise<void> {
  await db.rows(sql`select pg_advisory_xact_lock(hashtextextended('auth.local_destination', 0))`)
}
