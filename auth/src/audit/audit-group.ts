/**
 * Audit entries of many requests by one insert: whoever adds one waits until it is committed. For entries that stand in
 * no transaction of their own; others use audit.ts.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { openTogether } from '../db/together.ts'
import type { AuditEntry } from './audit.ts'

export interface AuditGroup {
  /** Resolves when the entry is committed. @throws when it is not: then what it stands for must not happen */
  add(entry: AuditEntry): Promise<void>
}

export const openAuditGroup = (db: Db): AuditGroup =>
  openTogether(
    async (entries: readonly AuditEntry[]) => {
      await insert(db, entries)
      return entries.map(() => undefined)
    },
    { most: 256, atOnce: 4 },
  )

const insert = (db: Db, entries: readonly AuditEntry[]) =>
  db.rows(
    sql`
      insert into auth.audit (actor, action, subject, detail)
      select actor, action, subject, detail::jsonb
        from unnest(${entries.map(({ actor }) => actor)}::text[], ${entries.map(({ action }) => action)}::text[],
                    ${entries.map(({ subject }) => subject)}::text[],
                    ${entries.map(({ detail }) => JSON.stringify(detail ?? {}))}::text[]) entry (actor, action, subject, detail)`,
    'audit-group',
  )
