/**
 * Certificates of subscriptions whose pushes carry their content. A new one is written before the provider hears of it,
 * because a push may be encrypted to it before the provider has answered; an old one stays until nothing names it any more.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { DueRow } from '../work/work.ts'

export interface GivenCertificate {
  readonly id: string
  readonly certificate: string
}

/** The one in use, or one that an earlier attempt made and may have told the provider of; not one that is too old. */
export const findCertificate = (db: Db, subscriptionId: string, youngerThanSeconds: number) =>
  db.one<GivenCertificate>(sql`
    select id, certificate from auth.subscription_certificates
     where subscription_id = ${subscriptionId} and retired_at is null
       and created_at > auth.clock() - make_interval(secs => ${youngerThanSeconds})
     order by created_at desc, id limit 1`)

export interface NewCertificateRow {
  readonly id: string
  readonly ownerId: string
  readonly provider: string
  readonly dataKey: string
  readonly privateKey: string
  readonly certificate: string
}

/** @returns false: lease lost */
export async function insertCertificate(db: Db, due: DueRow, row: NewCertificateRow): Promise<boolean> {
  const inserted = await db.rows(sql`
    insert into auth.subscription_certificates (id, subscription_id, owner_id, provider, data_key, private_key, certificate)
    select ${row.id}, r.id, ${row.ownerId}, ${row.provider}, ${row.dataKey}, ${row.privateKey}, ${row.certificate}
      from auth.subscription_renewals r where r.id = ${due.id} and r.lease_id = ${due.lease_id}
    returning id`)
  return inserted.length === 1
}

/** The provider has this one now, or none; the others are kept for what is still on its way. */
export const takeCertificate = (tx: Db, subscriptionId: string, certificateId: string | null) =>
  tx.rows(sql`
    with retired as (
      update auth.subscription_certificates set retired_at = auth.clock()
       where subscription_id = ${subscriptionId} and id is distinct from ${certificateId}::text and retired_at is null
    )
    update auth.subscriptions set certificate_id = ${certificateId} where id = ${subscriptionId} and state <> 'stopped'`)

/** Of a subscription that is not over. */
export const findPrivateKey = (db: Db, subscriptionId: string, certificateId: string) =>
  db.one<{ owner_id: string; provider: string; data_key: string; private_key: string }>(sql`
    select owner_id, provider, data_key, private_key from auth.subscription_certificates
     where id = ${certificateId} and subscription_id = ${subscriptionId}`)

/** Stopped on our side: nothing that they send is ours any more. */
export const dropCertificatesOf = (tx: Db, subscriptionIds: readonly string[]) =>
  tx.rows(sql`
    delete from auth.subscription_certificates where subscription_id = any(${[...subscriptionIds]}::text[])`)

/** Providers repeat a push for hours, not for days. */
export const dropRetiredCertificates = (db: Db, afterSeconds: number) =>
  db.rows(sql`
    delete from auth.subscription_certificates where retired_at < auth.clock() - make_interval(secs => ${afterSeconds})`)
