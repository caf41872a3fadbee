/**
 * What a disconnect does, or did, at the provider, so that a person can be told before and after: we revoke the grant, or
 * another connection still lives on it, or only the person himself can withdraw the consent, and where. Pure.
 */
import type { Provider } from '@flovify/providers'

export type AtProvider =
  | { readonly kind: 'revoked_by_us'; readonly url: string | null }
  | { readonly kind: 'shared_with_other_connection'; readonly url: string | null }
  | { readonly kind: 'withdraw_yourself'; readonly url: string | null }

export interface AtProviderNeeds {
  readonly provider: (id: string) => Provider | undefined
}

export function atProvider(
  needs: AtProviderNeeds,
  connection: { readonly provider: string; readonly tenant: string | null; readonly shared: boolean },
): AtProvider {
  const oauth = needs.provider(connection.provider)?.oauth
  const url = oauth?.withdrawalUrl(connection.tenant ?? undefined) ?? null
  if (oauth?.revoke === undefined) return { kind: 'withdraw_yourself', url }
  return { kind: connection.shared ? 'shared_with_other_connection' : 'revoked_by_us', url }
}
