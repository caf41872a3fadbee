/** The one writer of auth.destinations, except for what the claim keeps there (`store.ts`). Secrets come sealed. */
import type { Db, Sql } from '../db/sql.ts'
import { join, sql } from '../db/sql.ts'
import type { DestinationKind } from './destination-values.ts'

export interface DestinationRow {
  readonly id: string
  readonly kind: DestinationKind
  readonly name: string
  readonly url: string
  readonly test_url: string | null
  readonly header_names: readonly string[]
  readonly concurrency: number
  readonly rate_per_second: number | null
  readonly timeout_ms: number
  readonly retry_schedule: readonly number[] | null
  readonly retry_statuses: readonly number[] | null
  readonly ca: string | null
  readonly paused: boolean
  readonly paused_at: Date | null
  readonly disabled_at: Date | null
  readonly disabled_reason: string | null
  readonly previous_secret_until: Date | null
  readonly created_at: Date
}

export interface SealedDestination {
  readonly id: string
  readonly url: string
  readonly data_key: string
  readonly secret: string
}

/** A destination as a change finds it, locked. */
export interface LockedDestination extends DestinationRow, SealedDestination {
  readonly headers: string | null
}

/** Columns that a change may set. */
export type DestinationColumns = Partial<
  Pick<
    LockedDestination,
    | 'kind'
    | 'name'
    | 'url'
    | 'test_url'
    | 'header_names'
    | 'headers'
    | 'concurrency'
    | 'rate_per_second'
    | 'timeout_ms'
    | 'retry_schedule'
    | 'retry_statuses'
    | 'ca'
  >
>

/** What one attempt needs, sealed. */
export interface SealedForAttempt {
  readonly url: string
  readonly test_url: string | null
  readonly data_key: string
  readonly secret: string
  /** Null also when its time is over. */
  readonly previous_secret: string | null
  readonly headers: string | null
  readonly timeout_ms: number
  readonly retry_schedule: readonly number[] | null
  readonly retry_statuses: readonly number[] | null
  readonly ca: string | null
}

/** Of a destination called `d` in the statement. */
export const attemptColumns: Sql = sql`
  d.url, d.test_url, d.data_key, d.secret, case when d.previous_secret_until > auth.clock() then d.previous_secret end as previous_secret,
  d.headers, d.timeout_ms, d.retry_schedule, d.retry_statuses, d.ca`

const shown = sql`
  id, kind, name, url, test_url, header_names, concurrency, rate_per_second, timeout_ms, retry_schedule, retry_statuses, ca,
  paused, paused_at, disabled_at, disabled_reason,
  case when previous_secret_until > auth.clock() then previous_secret_until end as previous_secret_until, created_at`

export async function insertDestination(
  db: Db,
  row: { readonly id: string; readonly data_key: string; readonly secret: string; name: string; url: string },
): Promise<void> {
  await db.rows(sql`
    insert into auth.destinations (id, name, url, data_key, secret)
    values (${row.id}, ${row.name}, ${row.url}, ${row.data_key}, ${row.secret})`)
}

export async function setDestinationColumns(db: Db, id: string, columns: DestinationColumns): Promise<void> {
  const set = assignments(columns)
  if (set.length > 0) await db.rows(sql`update auth.destinations set ${join(set, ', ')} where id = ${id}`)
}

/** What is told to be failing stays so until a success is told, but its time begins anew. */
const failingAnew = sql`case when failing_since is not null then auth.clock() end`

/** An open breaker stays open: one delivery tries at once what came of it, whatever the receiver asked for before. */
const probeNow = sql`case when breaker = 'open' then auth.clock() end`

function assignments(c: DestinationColumns): Sql[] {
  const set: Sql[] = []
  if (c.kind !== undefined) set.push(sql`kind = ${c.kind}`)
  if (c.name !== undefined) set.push(sql`name = ${c.name}`)
  if (c.url !== undefined) {
    set.push(sql`url = ${c.url}`)
    // who failed, and who asked to be left alone, was the receiver at the earlier address
    const same = sql`url = ${c.url}`
    set.push(sql`held_until = case when ${same} then held_until end`)
    set.push(sql`probe_at = case when ${same} then probe_at else ${probeNow} end`)
    set.push(sql`failing_since = case when ${same} then failing_since else ${failingAnew} end`)
    set.push(sql`breaker_changed_at = case when ${same} then breaker_changed_at else auth.clock() end`)
  }
  if (c.test_url !== undefined) set.push(sql`test_url = ${c.test_url}`)
  if (c.header_names !== undefined) set.push(sql`header_names = ${c.header_names}::text[]`)
  if (c.headers !== undefined) set.push(sql`headers = ${c.headers}`)
  if (c.concurrency !== undefined) set.push(sql`concurrency = ${c.concurrency}`)
  if (c.rate_per_second !== undefined) set.push(sql`rate_per_second = ${c.rate_per_second}`)
  if (c.timeout_ms !== undefined) set.push(sql`timeout_ms = ${c.timeout_ms}`)
  if (c.retry_schedule !== undefined) set.push(sql`retry_schedule = ${c.retry_schedule}::int[]`)
  if (c.retry_statuses !== undefined) set.push(sql`retry_statuses = ${c.retry_statuses}::int[]`)
  if (c.ca !== undefined) set.push(sql`ca = ${c.ca}`)
  return set
}

/** With what an attempt needs, sealed. */
export function findForAttempt(
  db: Db,
  id: string,
): Promise<(SealedForAttempt & { readonly kind: DestinationKind }) | undefined> {
  return db.one<SealedForAttempt & { kind: DestinationKind }>(sql`
    select d.kind, ${attemptColumns} from auth.destinations d where d.id = ${id} and d.deleted_at is null`)
}

export function listDestinations(db: Db): Promise<DestinationRow[]> {
  return db.rows<DestinationRow>(sql`
    select ${shown} from auth.destinations where deleted_at is null order by created_at, id limit 1000`)
}

export function findDestination(db: Db, id: string): Promise<DestinationRow | undefined> {
  return db.one<DestinationRow>(
    sql`select ${shown} from auth.destinations where id = ${id} and deleted_at is null`,
  )
}

/** The claim's own lock, so that a change and a claim wait for one another and ingest waits for neither. */
export function lockDestination(db: Db, id: string): Promise<LockedDestination | undefined> {
  return db.one<LockedDestination>(sql`
    select ${shown}, data_key, secret, headers from auth.destinations
     where id = ${id} and deleted_at is null for no key update`)
}

/** @returns false when it was so already */
export async function pauseDestination(db: Db, id: string, actor: string): Promise<boolean> {
  const rows = await db.rows(sql`
    update auth.destinations set paused = true, paused_at = auth.clock(), paused_by = ${actor}
     where id = ${id} and not paused returning id`)
  return rows.length === 1
}

/** Ends a pause and takes a disabled one into use again: what failed before either counts no more. @returns false when it was active */
export async function resumeDestination(db: Db, id: string): Promise<boolean> {
  const rows = await db.rows(sql`
    update auth.destinations
       set paused = false, paused_at = null, paused_by = null, disabled_at = null, disabled_reason = null, held_until = null,
           breaker_changed_at = auth.clock(), failing_since = ${failingAnew}, probe_at = ${probeNow}
     where id = ${id} and (paused or disabled_at is not null) returning id`)
  return rows.length === 1
}

/** @param overlapSeconds for how long the earlier secret signs too; 0: it ends now */
export async function setSecret(
  db: Db,
  id: string,
  sealed: { readonly secret: string; readonly previous: string },
  overlapSeconds: number,
): Promise<Date | null> {
  const row = await db.one<{ until: Date | null }>(sql`
    update auth.destinations
       set secret = ${sealed.secret},
           previous_secret = case when ${overlapSeconds}::int > 0 then ${sealed.previous}::text end,
           previous_secret_until = case when ${overlapSeconds}::int > 0 then auth.clock() + make_interval(secs => ${overlapSeconds}) end
     where id = ${id} returning previous_secret_until as until`)
  return row?.until ?? null
}

/** A chore's: what signs no more is not kept. */
export async function dropEndedSecrets(db: Db): Promise<void> {
  await db.rows(sql`
    update auth.destinations set previous_secret = null, previous_secret_until = null
     where previous_secret_until <= auth.clock()`)
}

/**
 * The full lock, unlike the claim's: it waits for every transaction that is inserting deliveries for the destination
 * (the storing statement holds a key share), so that what they insert is there to be cancelled.
 */
export async function lockDestinationForDeletion(db: Db, id: string): Promise<boolean> {
  const row = await db.one(sql`
    select id from auth.destinations where id = ${id} and deleted_at is null for update`)
  return row !== undefined
}

/** The secrets go with it: what is deleted can sign nothing any more. */
export async function markDestinationDeleted(db: Db, id: string): Promise<void> {
  await db.rows(sql`
    update auth.destinations
       set deleted_at = auth.clock(), data_key = '', secret = '', previous_secret = null, previous_secret_until = null,
           headers = null, header_names = '{}'
     where id = ${id}`)
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
