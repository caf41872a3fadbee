/** The sample of requests that were not genuine: the newest of each provider and reason. */
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
}

export const insertRejection = (db: Db, one: Rejection) =>
  db.rows(sql`
    with older as (
      delete from auth.rejections where id in (
        select id from auth.rejections where provider = ${one.provider} and reason = ${one.reason}
         order by id desc offset ${KEPT_EACH - 1})
    )
    insert into auth.rejections (provider, reason, header_names, body_bytes, body_sha256)
    values (${one.provider}, ${one.reason}, ${[...one.headerNames]}::text[], ${one.body?.bytes ?? null}::int, ${one.body?.sha256 ?? null}::bytea)`)

export interface RejectionRow {
  readonly id: string
  readonly at: Date
  readonly provider: string
  readonly reason: string
  readonly header_names: readonly string[]
  readonly body_bytes: number | null
  readonly body_sha256: string | null
}

/** Newest first. */
export const listRejections = (db: Db) =>
  db.rows<RejectionRow>(sql`
    select id::text, at, provider, reason, header_names, body_bytes, encode(body_sha256, 'hex') as body_sha256
      from auth.rejections order by id desc limit ${LISTED}`)

export const deleteOldRejections = (db: Db) =>
  db.rows(sql`delete from auth.rejections where at < auth.clock() - make_interval(days => ${KEPT_DAYS})`)
