/**
 * The administrator's consent as its own flow: where a provider lets only an administrator agree, the person gets a link
 * to pass on. Whoever opens it has no session here, so what comes back is believed to be a report and nothing more: the
 * link is used up, it is audited, and the person's connections that wait for an administrator are tried again. It links
 * no account, and the tenant in the answer is never read. Source: protocols/microsoft.md §1.3; security.md §2.2.
 */
import type { Provider } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { newId, randomToken, sha256 } from '../platform/ids.ts'
import { countOpenConsents, insertConsent, useConsent, waitingForAdmin } from './admin-consent-store.ts'
import { lockFlowsOf } from './flow-store.ts'
import { refreshNow } from './refresh-store.ts'
import { findUser } from './session-store.ts'

export interface AdminConsentNeeds {
  readonly db: Database
  readonly provider: (id: string) => Provider | undefined
  readonly webhookOrigin: string
}

/** An administrator may be away for some days; longer, and the link lies around in too many mailboxes. */
export const CONSENT_DAYS = 7
const OPEN_LINKS = 20

export type ConsentLink =
  | { readonly kind: 'made'; readonly url: string; readonly expiresAt: Date }
  | {
      readonly kind: 'refused'
      readonly reason: 'unknown_provider' | 'not_needed' | 'unknown_user' | 'unknown_scope' | 'too_many_links'
    }

export async function makeConsentLink(
  needs: AdminConsentNeeds,
  request: {
    readonly userId: string
    readonly provider: string
    readonly scopes?: readonly string[] | undefined
  },
): Promise<ConsentLink> {
  const provider = needs.provider(request.provider)
  if (provider === undefined) return { kind: 'refused', reason: 'unknown_provider' }
  const { adminConsentUrl } = provider.oauth
  if (adminConsentUrl === undefined) return { kind: 'refused', reason: 'not_needed' }
  const known = new Set([...provider.oauth.scopes.map(({ scope }) => scope), ...provider.oauth.defaultScopes])
  const scopes = request.scopes ?? provider.oauth.defaultScopes
  if (!scopes.every((scope) => known.has(scope))) return { kind: 'refused', reason: 'unknown_scope' }
  const user = await findUser(needs.db, request.userId)
  if (user === undefined) return { kind: 'refused', reason: 'unknown_user' }
  const state = randomToken()
  return needs.db.transaction(async (tx): Promise<ConsentLink> => {
    await lockFlowsOf(tx, user.id)
    if ((await countOpenConsents(tx, user.id)) >= OPEN_LINKS)
      return { kind: 'refused', reason: 'too_many_links' }
    const id = newId('adm')
    const expiresAt = await insertConsent(tx, {
      id,
      stateHash: sha256(state),
      provider: provider.id,
      ownerId: user.id,
      days: CONSENT_DAYS,
    })
    await audit(tx, {
      actor: `user:${user.id}`,
      action: 'admin_consent.link_made',
      subject: id,
      detail: { provider: provider.id },
    })
    const url = adminConsentUrl({
      state,
      redirectUri: `${needs.webhookOrigin}/webhook/oauth/${provider.id}/callback`,
      scopes,
    })
    return { kind: 'made', url: url.href, expiresAt }
  })
}

/** @returns whether the link was ours, fresh and unused; once */
export async function receiveConsent(
  needs: Pick<AdminConsentNeeds, 'db'>,
  provider: Provider,
  answer: { readonly state: string; readonly granted: boolean },
): Promise<boolean> {
  return needs.db.transaction(async (tx) => {
    const used = await useConsent(tx, {
      stateHash: sha256(answer.state),
      provider: provider.id,
      granted: answer.granted,
    })
    if (used === undefined) return false
    const waiting = answer.granted ? await waitingForAdmin(tx, used.owner_id, provider.id) : []
    for (const { id } of waiting) await refreshNow(tx, id)
    await audit(tx, {
      actor: 'unknown',
      action: answer.granted ? 'admin_consent.reported' : 'admin_consent.declined',
      subject: used.id,
      detail: { provider: provider.id, owner: used.owner_id, connections: waiting.length },
    })
    return true
  })
}
