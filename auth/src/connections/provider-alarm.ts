/**
 * Tells the operator what only the operator can repair: a provider that refuses our own credentials or requests. One log
 * line for each cause over all processes, until it is repaired (refresh-pace-store.ts); connections stay as they are.
 */
import type { Failure } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import { raiseAlarm } from './refresh-pace-store.ts'

export async function alarmOperator(
  needs: { readonly db: Db; readonly log: Log },
  provider: string,
  failure: Failure,
): Promise<void> {
  const code = reasonOf(failure)
  if (await raiseAlarm(needs.db, provider, code))
    needs.log.error(
      { provider, code },
      'alarm: the provider refuses our own credentials or request; its connections stay as they are: correct the configuration',
    )
}

/** Codes come from closed sets; what is not one stays outside tables and logs. */
export const reasonOf = (failure: Failure): string =>
  /^[A-Za-z0-9_.:-]{1,64}$/.test(failure.code) ? failure.code : 'provider_error'
