/** What was not genuine: the newest samples of each provider and reason, and how many there were by day. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** Kept of each provider and reason. */
export const KEPT_EACH = 20
const KEPT_DAYS = 30
const LISTED = 500

export interface Rejection {
  readonly provider: string
  readonly reason: string
  readonly headerNames: readonly string[]
  /** undefined: refused before the body was read */
  readonly body: { readonly bytes: number; readonly sha256: Buffer } | undefined
  readonly subscriptionId: string | undefined
}

export const insertRejection = (db: Db, one: Rejection) =>
  db.rows(sql`
    with older as (
      delete from auth.rejections where id in (
        select id from auth.rejections where provider = ${one.provider} and reason = ${one.reason}
         order by id desc offset ${KEPT_EACH - 1})
    )
    insert into auth.rejections (provider, reason, header_names, body_bytes, body_sha256, subscription_id)
    values (${one.provider}, ${one.reason}, ${[...one.headerNames]}::text[], ${one.body?.bytes ?? null}::int,
            ${one.body?.sha256 ?? null}::bytea, ${one.subscriptionId ?? null})`)

export interface RejectionCount {
  readonly provider: string
  readonly reason: string
  readonly rejected: number
  readonly sampled: number
}

/** In one order for all processes, or two of them wait for each other. */
export const addCounts = (db: Db, counts: readonly RejectionCount[]) =>
  db.rows(sql`
    insert into auth.rejection_counts (day, provider, reason, rejected, sampled, last_at)
    select auth.clock()::date, c.provider, c.reason, c.rejected, c.sampled, auth.clock()
      from unnest(${counts.map(({ provider }) => provider)}::text[], ${counts.map(({ reason }) => reason)}::text[],
                  ${counts.map(({ rejected }) => rejected)}::bigint[], ${counts.map(({ sampled }) => sampled)}::bigint[])
             as c (provider, reason, rejected, sampled)
     order by c.provider, c.reason
    on conflict (day, provider, reason) do update
       set rejected = rejection_counts.rejected + excluded.rejected,
           sampled = rejection_counts.sampled + excluded.sampled,
           last_at = excluded.last_at`)

export interface RejectionRow {
  readonly id: string
  readonly at: Date
  readonly provider: string
  readonly reason: string
  readonly header_names: readonly string[]
  readonly body_bytes: number | null
  readonly body_sha256: string | null
  readonly subscription_id: string | null
}

/** Newest first. */
export const listRejections = (db: Db) =>
  db.rows<RejectionRow>(sql`
    select id::text, at, provider, reason, header_names, body_bytes, encode(body_sha256, 'hex') as body_sha256,
           subscription_id
      from auth.rejections order by id desc limit ${LISTED}`)

export interface RejectionCountRow {
  /** `2026-11-27` */
  readonly day: string
  readonly provider: string
  readonly reason: string
  readonly rejected: number
  readonly sampled: number
  readonly last_at: Date
}

/** Newest day first, in it what came most. */
export const listRejectionCounts = (db: Db) =>
  db.rows<RejectionCountRow>(sql`
    select day::text, provider, reason, rejected::float8 as rejected, sampled::float8 as sampled, last_at
      from auth.rejection_counts order by rejection_counts.day desc, rejection_counts.rejected desc, provider, reason
     limit ${LISTED}`)

export async function readRejections(db: Db) {
  const [samples, counts] = await Promise.all([listRejections(db), listRejectionCounts(db)])
  return { samples, counts }
}

export const deleteOldRejections = (db: Db) =>
  db.rows(sql`
    with counts as (
      delete from auth.rejection_counts where day < (auth.clock() - make_interval(days => ${KEPT_DAYS}))::date
    )
    delete from auth.rejections where at < auth.clock() - make_interval(days => ${KEPT_DAYS})`)
