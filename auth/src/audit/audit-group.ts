/**
 * Audit entries of many requests by one insert: whoever adds one waits until it is committed. What comes while an insert
 * is under way goes into the next, so a single entry waits for nothing and many share one commit. An entry that the
 * database refuses fails alone. For entries that stand in no transaction of their own; others use audit.ts.
 */
import type { Db } from '../db/sql.ts'
import { sql, sqlState } from '../db/sql.ts'
import type { AuditEntry } from './audit.ts'

export interface AuditGroup {
  /** Resolves when the entry is committed. @throws when it is not: then what it stands for must not happen */
  add(entry: AuditEntry): Promise<void>
}

interface Waiting {
  readonly entry: AuditEntry
  resolve(): void
  reject(error: unknown): void
}

const MOST_ENTRIES = 256

export function openAuditGroup(db: Db): AuditGroup {
  const waiting: Waiting[] = []
  let writing = false

  async function write(): Promise<void> {
    writing = true
    // what is added in this turn of the event loop goes along
    await Promise.resolve()
    while (waiting.length > 0) await settle(db, waiting.splice(0, MOST_ENTRIES))
    writing = false
  }

  return {
    add: (entry) =>
      new Promise((resolve, reject) => {
        waiting.push({ entry, resolve, reject })
        if (!writing) void write()
      }),
  }
}

/** Never throws: each entry learns its own outcome. */
async function settle(db: Db, group: readonly Waiting[]): Promise<void> {
  try {
    await insert(
      db,
      group.map(({ entry }) => entry),
    )
    for (const one of group) one.resolve()
  } catch (error) {
    // data errors are of one entry; a database that is away is away for all
    if (group.length > 1 && sqlState(error)?.startsWith('22') === true)
      for (const one of group) await settle(db, [one])
    else for (const one of group) one.reject(error)
  }
}

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
