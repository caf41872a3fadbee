/**
 * Ends what nobody finished: flows past their time, parked codes older than three minutes, exchanges whose process died.
 * Secrets are wiped in the same statement. Called every minute by a chore; never redeems anything.
 */
import type { Db } from '../db/sql.ts'
import { deleteOldFlows, endStaleFlows } from './flow-store.ts'
import { deleteOldLinks, deleteOldSessions } from './session-store.ts'

export interface Swept {
  readonly expired: number
  /** Exchanges that may or may not have spent their code: the user connects again. */
  readonly failedUnknown: number
}

export async function sweepFlows(db: Db): Promise<Swept> {
  const ended = await endStaleFlows(db)
  await deleteOldFlows(db)
  const expired = ended.filter(({ status }) => status === 'expired').length
  return { expired, failedUnknown: ended.length - expired }
}

/** Sessions and links that ended more than a week ago. */
export async function sweepSessions(db: Db): Promise<void> {
  await deleteOldSessions(db)
  await deleteOldLinks(db)
}
