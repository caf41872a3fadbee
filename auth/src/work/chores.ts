/**
 * Housekeeping as due rows: each chore has a name, an interval and a function. It is due again after its interval,
 * whatever happened, and soon where it says that it was not finished; a failure is kept in `last_error` as a code. Several
 * processes share the rows, so a chore runs once an interval, not once a process.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import { errorFields } from '../platform/log.ts'
import { dueIn } from './due.ts'
import type { DueRow, WorkKind } from './work.ts'

export interface Chore {
  readonly everySeconds: number
  /** @param unfinished says that there was more to do than one run's share */
  run(unfinished: () => void): Promise<void>
}

const MORE_SECONDS = 1
/** What failed is not asked each second, though the rest of it has more to do. */
const MORE_AFTER_FAILURE_SECONDS = 60

/** Makes the rows that are missing; an existing row keeps its time. */
export async function plantChores(db: Db, names: readonly string[]): Promise<void> {
  await db.rows(sql`insert into auth.chores (id) select unnest(${names}::text[]) on conflict do nothing`)
}

/** @param chores by name; rows without a chore here belong to another version and are left alone for an hour */
export function choreKind(db: Db, chores: Readonly<Record<string, Chore>>): WorkKind<DueRow> {
  const settle = (row: DueRow, seconds: number, error: string | null) =>
    db.rows(sql`
      update auth.chores
         set due_at = auth.clock() + make_interval(secs => ${seconds}), lease_until = null, lease_id = null, claims = 0,
             attempts = attempts + 1, last_error = ${error}
       where id = ${row.id} and lease_id = ${row.lease_id}`)
  return {
    name: 'chores',
    leaseSeconds: 60,
    batch: 4,
    concurrency: 4,
    ...dueIn('auth.chores'),
    async run(row) {
      const chore = chores[row.id]
      if (chore === undefined) {
        await settle(row, 3600, null)
        return
      }
      let isUnfinished = false
      const due = (moreSeconds: number) =>
        isUnfinished ? Math.min(moreSeconds, chore.everySeconds) : chore.everySeconds
      try {
        await chore.run(() => {
          isUnfinished = true
        })
        await settle(row, due(MORE_SECONDS), null)
      } catch (error) {
        await settle(row, due(MORE_AFTER_FAILURE_SECONDS), String(errorFields(error).error_code ?? 'failed'))
        throw error
      }
    },
    poison: async (_on, row) => {
      await settle(row, 3600, 'poison')
    },
  }
}

/** Day partitions, made a week ahead. */
export async function makeDays(db: Db): Promise<void> {
  await db.rows(sql`
    select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 1, (auth.clock() at time zone 'UTC')::date + 7)`)
}
