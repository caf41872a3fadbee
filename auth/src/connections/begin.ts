/**
 * Begins a flow: checks what the BFF asks for, stores what the callback and the completion will need, and answers with
 * the authorization URL. A flow is bound to the user and the session that begin it. Never redirects and never talks to a
 * provider. Sources: RFC 6749 §4.1.1, RFC 7636 §4.1–4.2, RFC 9700 §4.7.
 */
import { createHash } from 'node:crypto'
import { type Provider, Secret } from '@flovify/providers'
import type { Database } from '../db/sql.ts'
import { newId, randomToken, sha256 } from '../platform/ids.ts'
import type { Vault } from '../vault/vault.ts'
import { countOpenFlows, insertFlow, lockFlowsOf } from './flow-store.ts'
import { findUser } from './session-store.ts'
import { findToReconnect } from './store.ts'

export const OPEN_FLOWS_PER_USER = 10
export const FLOW_SECONDS = 600

export interface BeginNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly provider: (id: string) => Provider | undefined
  /** Public origin of the callback, without a slash at the end. */
  readonly webhookOrigin: string
}

export interface BeginRequest {
  readonly userId: string
  readonly provider: string
  /** base64url of 32 bytes, derived from the session family. */
  readonly sessionBinding: string
  readonly state?: string | undefined
  readonly expiresInSeconds?: number | undefined
  readonly scopes?: readonly string[] | undefined
  /** Reconnects this connection of the user: it must come back as the same account; `scopes` are asked for on top. */
  readonly connectionId?: string | undefined
}

export type BeginOutcome =
  | { readonly kind: 'begun'; readonly flowId: string; readonly state: string; readonly authUrl: string }
  | { readonly kind: 'refused'; readonly reason: BeginRefusal }

export type BeginRefusal =
  | 'unknown_provider'
  | 'unknown_user'
  | 'invalid_state'
  | 'state_used'
  | 'invalid_binding'
  | 'invalid_expiry'
  | 'unknown_scope'
  | 'unknown_connection'
  | 'too_many_flows'

export async function beginFlow(needs: BeginNeeds, request: BeginRequest): Promise<BeginOutcome> {
  const provider = needs.provider(request.provider)
  if (provider === undefined) return refused('unknown_provider')
  const binding = judgeBinding(request.sessionBinding)
  if (binding === undefined) return refused('invalid_binding')
  if (request.state !== undefined && !isStrongState(request.state)) return refused('invalid_state')
  const expiresInSeconds = request.expiresInSeconds ?? FLOW_SECONDS
  if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > FLOW_SECONDS)
    return refused('invalid_expiry')
  const scopes = judgeScopes(provider, request.scopes)
  if (scopes === undefined) return refused('unknown_scope')
  const user = await findUser(needs.db, request.userId)
  if (user === undefined) return refused('unknown_user')
  const earlier =
    request.connectionId === undefined
      ? undefined
      : await findToReconnect(needs.db, { id: request.connectionId, ownerId: user.id, provider: provider.id })
  if (request.connectionId !== undefined && earlier === undefined) return refused('unknown_connection')
  const wanted =
    earlier === undefined ? scopes : withEarlier(provider, earlier.scope_requested, request.scopes)

  const id = newId('flw')
  const state = request.state ?? randomToken()
  // 43 characters, the least that RFC 7636 §4.1 allows, of 256 random bits
  const verifier = new Secret(randomToken())
  const nonce = new Secret(randomToken())
  const redirectUri = `${needs.webhookOrigin}/webhook/oauth/${provider.id}/callback`
  const context = { purpose: 'oauth_states', owner: user.id, row: id, provider: provider.id } as const
  const dataKey = needs.vault.newDataKey(context)
  const key = needs.vault.open(dataKey, context)

  const stored = await needs.db.transaction(async (tx): Promise<'stored' | BeginRefusal> => {
    await lockFlowsOf(tx, user.id)
    if ((await countOpenFlows(tx, user.id)) >= OPEN_FLOWS_PER_USER) return 'too_many_flows'
    const flow = await insertFlow(tx, {
      id,
      stateHash: sha256(state),
      provider: provider.id,
      ownerId: user.id,
      sessionBinding: binding,
      issuer: provider.oauth.issuer,
      redirectUri,
      scopes: wanted.join(' '),
      reconnects: earlier?.id ?? null,
      dataKey,
      verifier: key.seal('verifier', verifier),
      nonce: key.seal('nonce', nonce),
      expiresInSeconds,
    })
    return flow === undefined ? 'state_used' : 'stored'
  })
  if (stored !== 'stored') return refused(stored)

  const authUrl = provider.oauth.authorizationUrl({
    state,
    nonce: nonce.reveal(),
    codeChallenge: challengeOf(verifier),
    redirectUri,
    scopes: wanted,
    // a hint: the person may still choose another account, which the completion refuses
    ...(earlier?.account_label.includes('@') === true ? { loginHint: earlier.account_label } : {}),
  })
  return { kind: 'begun', flowId: id, state, authUrl: authUrl.href }
}

const refused = (reason: BeginRefusal): BeginOutcome => ({ kind: 'refused', reason })

/** At least 256 bits where every character counts: 43 of base64url, or 64 when all of them are hexadecimal. */
export function isStrongState(state: string): boolean {
  if (!/^[A-Za-z0-9_-]{43,256}$/.test(state)) return false
  return !/^[0-9A-Fa-f]+$/.test(state) || state.length >= 64
}

/** @returns the 32 bytes, or undefined for anything else than their one base64url form */
export function judgeBinding(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.length === 32 && bytes.toString('base64url') === text ? bytes : undefined
}

/** Only scopes that the provider's own list knows; its default when none are asked for. */
function judgeScopes(
  provider: Provider,
  asked: readonly string[] | undefined,
): readonly string[] | undefined {
  if (asked === undefined || asked.length === 0) return provider.oauth.defaultScopes
  const known = new Set([...provider.oauth.scopes.map(({ scope }) => scope), ...provider.oauth.defaultScopes])
  return asked.every((scope) => known.has(scope)) ? [...new Set(asked)] : undefined
}

/** Never fewer than before; what the provider's list no longer knows is not asked for again. */
function withEarlier(provider: Provider, earlier: string, more: readonly string[] = []): readonly string[] {
  const known = new Set([...provider.oauth.scopes.map(({ scope }) => scope), ...provider.oauth.defaultScopes])
  const asked = earlier.split(' ').filter((scope) => known.has(scope))
  return [...new Set([...(asked.length === 0 ? provider.oauth.defaultScopes : asked), ...more])]
}

/** RFC 7636 §4.2, S256. */
function challengeOf(verifier: Secret): string {
  return createHash('sha256').update(verifier.reveal(), 'ascii').digest('base64url')
}
