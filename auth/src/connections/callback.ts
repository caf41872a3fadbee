/**
 * Receives the browser that comes back from the provider, and parks what it brings: one atomic update from `created` to
 * `returned`, the code sealed, a one-time ticket made. Who the browser belongs to is unknown here, so nothing is
 * exchanged: the signed-in console must confirm first (`complete.ts`). No network call, no reflection of input.
 * Sources: design.md §5.1, RFC 9207 §2.4, RFC 9700 §4.4 and §4.7.
 */
import { type AuthorizationFailureReason, type Provider, Secret } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { randomToken, sha256 } from '../platform/ids.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Vault } from '../vault/vault.ts'
import { receiveConsent } from './admin-consent.ts'
import { type CallbackRequest, judgeCallbackParameters } from './callback-parameters.ts'
import { burnLiveFlow, failLiveFlow, findLiveFlow, type LiveFlow, parkCode } from './flow-store.ts'

export interface CallbackNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly provider: (id: string) => Provider | undefined
  readonly metrics: Metrics
}

export type CallbackOutcome =
  | { readonly kind: 'parked'; readonly provider: string; readonly ticket: Secret }
  /** The provider said no to a flow of ours. */
  | { readonly kind: 'ended'; readonly reason: AuthorizationFailureReason }
  /** An administrator came back from a link that somebody passed on. */
  | { readonly kind: 'admin_consent'; readonly granted: boolean }
  /** Why is counted, never told. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown_provider' }

export async function receiveCallback(
  needs: CallbackNeeds,
  path: string,
  request: CallbackRequest,
): Promise<CallbackOutcome> {
  const provider = needs.provider(path)
  if (provider === undefined) return { kind: 'unknown_provider' }
  const refuse = (reason: string): CallbackOutcome => {
    needs.metrics.stateFailures(provider.id, reason)
    return { kind: 'refused' }
  }
  const burn = async (stateHash: Buffer, reason: string) => {
    await burnFlow(needs.db, stateHash, reason)
    return refuse(reason)
  }

  const consent = request.method === 'GET' ? provider.oauth.readAdminConsent?.(request.query) : undefined
  if (consent !== undefined)
    return (await receiveConsent(needs, provider, consent))
      ? { kind: 'admin_consent', granted: consent.granted }
      : refuse('unknown_state')

  const judgement = judgeCallbackParameters(provider.oauth.responseMode, request)
  if (judgement.kind === 'malformed') return refuse(judgement.reason)
  const { response } = judgement
  const stateHash = sha256(response.state)

  const flow = await findLiveFlow(needs.db, stateHash)
  if (flow === undefined) return refuse('unknown_state')
  const foreign = judgeOrigin(provider, flow, response.iss)
  if (foreign !== undefined) return burn(stateHash, foreign)

  if (response.kind === 'error') {
    const reason = provider.oauth.reasonOf(response.error)
    const failed = await failLiveFlow(needs.db, { stateHash, provider: provider.id, reason })
    if (failed === undefined) return refuse('unknown_state')
    needs.metrics.callbacks(provider.id, 'failed')
    return { kind: 'ended', reason }
  }

  const ticket = new Secret(randomToken())
  const key = needs.vault.open(flow.data_key, {
    purpose: 'oauth_states',
    owner: flow.owner_id,
    row: flow.id,
    provider: flow.provider,
  })
  const parked = await parkCode(needs.db, {
    stateHash,
    provider: provider.id,
    code: key.seal('code', new Secret(response.code)),
    ticketHash: sha256(ticket.reveal()),
  })
  // of many requests with one state, all but the first come here
  if (parked === undefined) return refuse('used_state')
  return { kind: 'parked', provider: provider.id, ticket }
}

/** Whether this answer comes from where the flow was sent. @returns why not */
export function judgeOrigin(
  provider: Provider,
  flow: Pick<LiveFlow, 'provider' | 'issuer'>,
  iss: string | undefined,
): 'foreign_path' | 'wrong_issuer' | undefined {
  if (flow.provider !== provider.id) return 'foreign_path'
  // the operator pointed this provider elsewhere since the flow began
  if (flow.issuer !== provider.oauth.issuer) return 'wrong_issuer'
  return provider.oauth.judgeIssuer(iss) === 'ok' ? undefined : 'wrong_issuer'
}

async function burnFlow(db: Database, stateHash: Buffer, reason: string): Promise<void> {
  await db.transaction(async (tx) => {
    const burned = await burnLiveFlow(tx, { stateHash, reason })
    if (burned === undefined) return
    await audit(tx, {
      actor: 'system',
      action: 'oauth.flow_burned',
      subject: burned.id,
      detail: { provider: burned.provider, reason },
    })
  })
}
