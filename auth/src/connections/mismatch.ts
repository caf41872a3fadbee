/**
 * A reconnect that came back as another account: nothing of it is kept, and the old connection stays as it is. The grant
 * that was just given is taken back where the provider can do that and nobody's connection lives on it; else it lapses.
 */
import type { ExchangeOutcome, Provider } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { withDeadline } from '../platform/deadline.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { ClaimedFlow } from './flow-store.ts'
import { findToReconnect, isGrantInUse } from './store.ts'

export interface MismatchNeeds {
  readonly db: Database
  readonly provider: (id: string) => Provider | undefined
  readonly log: Log
}

type Granted = Extract<ExchangeOutcome, { kind: 'granted' }>

const REVOKE_MS = 5_000

/** @returns why the grant must not be written, if it must not */
export async function judgeAccount(
  needs: MismatchNeeds,
  flow: ClaimedFlow,
  granted: Granted,
): Promise<'account_mismatch' | 'connection_gone' | undefined> {
  if (flow.reconnects === null) return undefined
  const expected = await findToReconnect(needs.db, {
    id: flow.reconnects,
    ownerId: flow.owner_id,
    provider: flow.provider,
  })
  if (expected !== undefined && expected.account_key === granted.account.key) return undefined
  const reason = expected === undefined ? 'connection_gone' : 'account_mismatch'
  await audit(needs.db, {
    actor: `user:${flow.owner_id}`,
    action: `oauth.${reason}`,
    subject: flow.reconnects,
    detail: { provider: flow.provider, flow: flow.id },
  })
  await takeBack(needs, flow, granted)
  return reason
}

/** Once, and not for long: the person waits for his answer. */
async function takeBack(
  needs: MismatchNeeds,
  flow: ClaimedFlow,
  { account, tokens }: Granted,
): Promise<void> {
  const revoke = needs.provider(flow.provider)?.oauth.revoke
  if (revoke === undefined) return
  if (await isGrantInUse(needs.db, { provider: flow.provider, accountKey: account.key })) return
  try {
    const done = await withDeadline(REVOKE_MS, undefined, (signal) =>
      revoke({ token: tokens.refreshToken ?? tokens.accessToken, signal }),
    )
    if (done.kind !== 'answered' || done.value.kind === 'failed')
      needs.log.warn(
        { provider: flow.provider, flow: flow.id },
        'the grant of a wrong account could not be taken back',
      )
  } catch (error) {
    needs.log.error(
      { provider: flow.provider, flow: flow.id, ...errorFields(error) },
      'taking a grant back broke',
    )
  }
}
