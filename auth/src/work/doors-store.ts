/** Whether doors are storing notifications now, in this process or another, seen by what their connections do. */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** Between two notifications of a steady stream a connection is idle. */
const JUST_NOW = sql`interval '250 milliseconds'`

/** Real time, not `auth.clock()`: it is the server's own. */
export async function areDoorsBusy(db: Db): Promise<boolean> {
  const row = await db.one<{ busy: boolean }>(
    sql`
    select exists (
      select from pg_stat_activity
       where datname = current_database() and application_name = 'flovify-ingest'
         and (state <> 'idle' or state_change > clock_timestamp() - ${JUST_NOW})) as busy`,
    'are-doors-busy',
  )
  return row?.busy === true
}
