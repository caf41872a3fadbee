/** Who did what to what, in the transaction that did it. Never a token, a code or a body. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

export interface AuditEntry {
  /** `user:<id>`, `service`, `system`, `admin-cli`. */
  readonly actor: string
  /** `connection.created`, `oauth.session_mismatch` … */
  readonly action: string
  readonly subject: string
  readonly detail?: Readonly<Record<string, string | number | boolean | null>>
}

export async function audit(tx: Db, entry: AuditEntry): Promise<void> {
  await tx.rows(sql`
    insert into auth.audit (actor, action, subject, detail)
    values (${entry.actor}, ${entry.action}, ${entry.subject}, ${JSON.stringify(entry.detail ?? {})})`)
}
