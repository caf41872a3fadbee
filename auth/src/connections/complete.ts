/**
 * Completes a flow: the signed-in console presents the ticket, and only the user and session that began the flow may
 * have its code exchanged. A code is redeemed at most once, also after a crash; a ticket that does not fit ends its
 * flow. The exchange runs outside any transaction; what it brings is written in one.
 * Sources: security.md §2.2 steps 7–12, draft-ietf-oauth-security-topics-update (session fixation), RFC 6749 §4.1.2.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ExchangeOutcome, Provider } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { monotonicMs } from '../platform/clock.ts'
import { withDeadline } from '../platform/deadline.ts'
import { sameBytes, sha256 } from '../platform/ids.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Vault } from '../vault/vault.ts'
import {
  type ClaimedFlow,
  claimTicket,
  failExchange,
  findByTicket,
  rejectTicket,
  type TicketHolder,
} from './flow-store.ts'
import { judgeAccount } from './mismatch.ts'
import { alarmOperator, reasonOf } from './provider-alarm.ts'
import type { SubscriptionsOfConnections } from './subscriptions.ts'
import { writeConnection } from './write-connection.ts'

export interface CompleteNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly ledger: Pick<Ledger, 'record'>
  readonly provider: (id: string) => Provider | undefined
  readonly subscriptions: SubscriptionsOfConnections
  readonly metrics: Metrics
  readonly log: Log
}

export interface CompleteRequest {
  readonly ticket: string
  /** Both absent: the browser had no session. */
  readonly userId?: string | undefined
  readonly sessionBinding?: string | undefined
}

export type CompleteOutcome =
  | { readonly kind: 'connected'; readonly connectionId: string }
  | { readonly kind: 'sign_in_required' }
  /** One answer for every cause. */
  | { readonly kind: 'refused' }
  /** The code was spent or is lost: connect again. `reason` is a fixed word. */
  | { readonly kind: 'failed'; readonly reason: string }

export const EXCHANGE_MS = 10_000
const REPEAT_WAIT_MS = 12_000
const REPEAT_POLL_MS = 150

export async function completeFlow(needs: CompleteNeeds, request: CompleteRequest): Promise<CompleteOutcome> {
  const ticketHash = sha256(request.ticket)
  if (request.userId === undefined || request.sessionBinding === undefined) {
    await rejectFlow(needs, ticketHash, 'no_session')
    return { kind: 'sign_in_required' }
  }
  const holder: TicketHolder = {
    ticketHash,
    ownerId: request.userId,
    sessionBinding: Buffer.from(request.sessionBinding, 'base64url'),
  }
  const claimed = await claimTicket(needs.db, holder)
  if (claimed === undefined) return answerUnclaimed(needs, holder)
  return exchange(needs, claimed)
}

/** A repeat by the same session gets the first result; everything else ends the flow. */
async function answerUnclaimed(needs: CompleteNeeds, holder: TicketHolder): Promise<CompleteOutcome> {
  const deadline = monotonicMs() + REPEAT_WAIT_MS
  for (;;) {
    const flow = await findByTicket(needs.db, holder.ticketHash)
    const cause =
      flow === undefined
        ? 'unknown_ticket'
        : flow.owner_id !== holder.ownerId
          ? 'other_user'
          : !sameBytes(flow.session_binding, holder.sessionBinding)
            ? 'other_session'
            : undefined
    if (flow === undefined || cause !== undefined) {
      await rejectFlow(needs, holder.ticketHash, cause ?? 'unknown_ticket')
      return { kind: 'refused' }
    }
    if (flow.status === 'done' && flow.connection_id !== null)
      return { kind: 'connected', connectionId: flow.connection_id }
    if (flow.status === 'failed') return { kind: 'failed', reason: flow.reason ?? 'failed_unknown' }
    if (flow.status === 'exchanging' && monotonicMs() < deadline) {
      // a page that posts twice: the second waits for the first
      await pause(REPEAT_POLL_MS)
      continue
    }
    // The process that exchanged it died: nobody else's fault, and nothing to suspect the person of.
    if (flow.status === 'exchanging') return { kind: 'failed', reason: 'failed_unknown' }
    await rejectFlow(needs, holder.ticketHash, flow.status === 'returned' ? 'late_ticket' : 'spent_ticket')
    return { kind: 'refused' }
  }
}

/** Ends the flow if it still waits, and records that a ticket was presented that did not fit. */
async function rejectFlow(needs: CompleteNeeds, ticketHash: Buffer, cause: string): Promise<void> {
  const provider = await needs.db.transaction(async (tx) => {
    const rejected = await rejectTicket(tx, { ticketHash, reason: cause })
    const flow = rejected ?? (await findByTicket(tx, ticketHash))
    if (flow === undefined) return undefined
    await audit(tx, {
      actor: 'system',
      action: 'oauth.session_mismatch',
      subject: flow.id,
      detail: { provider: flow.provider, cause, burned: rejected !== undefined },
    })
    return flow.provider
  })
  needs.metrics.stateFailures(provider ?? 'unknown', cause)
  if (provider !== undefined)
    needs.log.warn({ provider, cause }, 'oauth.session_mismatch: a ticket did not fit who presented it')
}

async function exchange(needs: CompleteNeeds, flow: ClaimedFlow): Promise<CompleteOutcome> {
  const outcome = await redeem(needs, flow)
  if (outcome.kind === 'failed') {
    if (outcome.failure.class === 'our_configuration')
      await alarmOperator(needs, flow.provider, outcome.failure)
    return fail(needs, flow, reasonOf(outcome.failure))
  }
  const wrong = await judgeAccount(needs, flow, outcome)
  if (wrong !== undefined) return fail(needs, flow, wrong)
  try {
    const connectionId = await writeConnection(needs, flow, outcome)
    needs.metrics.callbacks(flow.provider, 'succeeded')
    needs.subscriptions.changed(connectionId)
    return { kind: 'connected', connectionId }
  } catch (error) {
    needs.log.error(
      { provider: flow.provider, flow: flow.id, ...errorFields(error) },
      'a connection was granted but could not be stored; the user must connect again',
    )
    return fail(needs, flow, 'not_stored')
  }
}

async function redeem(needs: CompleteNeeds, flow: ClaimedFlow): Promise<ExchangeOutcome> {
  const provider = needs.provider(flow.provider)
  if (provider === undefined) return failed('provider_off')
  try {
    const key = needs.vault.open(flow.data_key, {
      purpose: 'oauth_states',
      owner: flow.owner_id,
      row: flow.id,
      provider: flow.provider,
    })
    const code = key.unseal('code', flow.code)
    const codeVerifier = key.unseal('verifier', flow.verifier)
    const nonce = key.unseal('nonce', flow.nonce)
    const inTime = await withDeadline(EXCHANGE_MS, undefined, (signal) =>
      provider.oauth.exchange({
        code,
        codeVerifier,
        nonce,
        redirectUri: flow.redirect_uri,
        scopes: words(flow.scopes),
        signal,
      }),
    )
    return inTime.kind === 'answered' ? inTime.value : failed('timeout')
  } catch (error) {
    needs.log.error(
      { provider: flow.provider, flow: flow.id, ...errorFields(error) },
      'an exchange broke; its code is never redeemed again',
    )
    return failed('exchange_broke')
  }
}

const failed = (code: string): ExchangeOutcome => ({ kind: 'failed', failure: { class: 'transient', code } })

/** Whatever went wrong, the code is wiped: redeeming it again could revoke what it gave (RFC 6749 §4.1.2). */
async function fail(needs: CompleteNeeds, flow: ClaimedFlow, reason: string): Promise<CompleteOutcome> {
  needs.metrics.callbacks(flow.provider, 'failed')
  needs.log.warn({ provider: flow.provider, flow: flow.id, reason }, 'connecting failed at the exchange')
  try {
    await failExchange(needs.db, { id: flow.id, reason })
  } catch (error) {
    needs.log.error({ flow: flow.id, ...errorFields(error) }, 'a failed exchange is left to the sweep')
  }
  return { kind: 'failed', reason }
}

export const words = (text: string): string[] => text.split(' ').filter((word) => word !== '')
