/**
 * What a provider says about an account (security events) acts on the connections of that account, and on nothing else:
 *
 *   tokens_revoked               the user withdrew everything: ended, tokens wiped
 *   account_disabled             nobody uses it: reauth_required, tokens kept for the case that it comes back
 *   account_enabled              tried again at once
 *   token_revoked                which one it was is found out by trying: refreshed at once
 *   sessions_revoked, credential_change_required, verification: noted
 *
 * It is stored as due rows before the provider gets its answer. Every one is audited. It asks no provider anything.
 */
import type { AccountSignal } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database, Db, Transaction } from '../db/sql.ts'
import { sha256 } from '../platform/ids.ts'
import type { Log } from '../platform/log.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, Nudge, WorkKind } from '../work/work.ts'
import { type DisconnectNeeds, end, ended } from './disconnect.ts'
import { refreshNow, unscheduleRefresh } from './refresh-store.ts'
import { findMeant, findSignal, type HeldSignal, insertSignals, settleSignal } from './signal-store.ts'
import { lockConnection, lockToEnd } from './store.ts'
import { endWork } from './transition.ts'

export const SIGNALS = 'account_signals'

/** @throws when it could not be stored: then nothing may be acknowledged */
export async function storeSignals(
  needs: { readonly db: Db; readonly nudge: Nudge },
  provider: string,
  signals: readonly AccountSignal[],
): Promise<void> {
  if (signals.length === 0) return
  await insertSignals(
    needs.db,
    signals.map((signal) => ({
      id: sha256(`${provider}\n${signal.id}`).toString('base64url'),
      provider,
      accountKey: signal.accountKey ?? null,
      kind: signal.kind,
      detail: signal.detail ?? null,
    })),
  )
  needs.nudge.nudge(SIGNALS)
}

export interface SignalNeeds extends Omit<DisconnectNeeds, 'db'> {
  readonly db: Database
  readonly log: Log
}

export function signalWork(needs: SignalNeeds): WorkKind<DueRow> {
  return {
    name: SIGNALS,
    leaseSeconds: 30,
    batch: 8,
    concurrency: 4,
    ...dueIn('auth.account_signals'),
    run: (row) => act(needs, row),
    poison: async (db, row) => {
      needs.log.error(
        { signal: row.id },
        'a security event ended the process several times and was set aside',
      )
      await settleSignal(db, row)
    },
  }
}

async function act(needs: SignalNeeds, due: DueRow): Promise<void> {
  const signal = await findSignal(needs.db, due)
  if (signal === undefined) return
  const meant = signal.account_key === null ? [] : await findMeant(needs.db, signal)
  // One transaction for each connection: what is done twice after a crash is the same again.
  for (const { id } of meant) {
    const over = await needs.db.transaction((tx) => actOn(needs, tx, signal, id))
    if (over) ended(needs, id)
  }
  await needs.db.transaction(async (tx) => {
    if (!(await settleSignal(tx, due))) return
    await audit(tx, {
      actor: `provider:${signal.provider}`,
      action: `account.${signal.kind}`,
      subject: due.id,
      detail: { connections: meant.length, detail: signal.detail },
    })
  })
  needs.log.info(
    { provider: signal.provider, kind: signal.kind, detail: signal.detail, connections: meant.length },
    'a security event was acted on',
  )
}

/** @returns whether the connection has ended */
async function actOn(needs: SignalNeeds, tx: Transaction, signal: HeldSignal, id: string): Promise<boolean> {
  switch (signal.kind) {
    case 'tokens_revoked': {
      const row = await lockToEnd(tx, id)
      if (row === undefined) return false
      await end(needs, tx, row, `provider:${signal.provider}`, 'provider', 'tokens_revoked')
      return true
    }
    case 'account_disabled': {
      const row = await lockConnection(tx, id)
      if (row === undefined) return false
      await unscheduleRefresh(tx, id)
      await endWork(needs, tx, row, {
        to: 'reauth_required',
        reason: signal.detail === 'hijacking' ? 'account_hijacked' : 'account_disabled',
        version: row.version,
      })
      return false
    }
    case 'account_enabled':
    case 'token_revoked':
      await refreshNow(tx, id)
      return false
    default:
      return false
  }
}
