/**
 * The client for services with a credential of their own (`npm run admin -- callers create`): access tokens, the
 * connections of the credential's scope, and what happens to them. It acts for no person, keeps no state and no token.
 */
import { type ClientOptions, requestJson, segment } from './request.ts'
import { type ConnectionChange, type WatchOptions, watchConnections } from './watch-connections.ts'
import type { ConnectionView, TokenView } from './wire.ts'

export interface TokenOptions {
  /** Seconds for which the token should still be valid: 0 to 3000, 60 unless given. */
  readonly minValidSeconds?: number
  /** What it is for, at most 64 characters; kept in the audit trail. */
  readonly purpose?: string
}

export interface ServiceClient {
  /**
   * An access token for the provider's API, refreshed where needed: waits up to 20 s. Permission `tokens:read`.
   * @throws ConnectError 404 outside the scope, 409 `reauth_required` with a reason, 503 `provider_unavailable`
   */
  token(connectionId: string, options?: TokenOptions): Promise<TokenView>
  /**
   * The same for a user's only connection at a provider.
   * @throws ConnectError 409 `several_connections` with `connectionIds`, when there are several
   */
  tokenOf(owner: { userId: string; provider: string }, options?: TokenOptions): Promise<TokenView>
  /** The connections of the scope, newest first. Permission `connections:read`. */
  connections(): Promise<readonly ConnectionView[]>
  /**
   * What happens to the connections of the scope, oldest first, until the signal aborts. Nothing is skipped while the
   * service is away; after a restart with `after` the last changes come again. Permission `events:read`.
   * @throws ConnectError when the credential is refused
   */
  watchConnections(options?: WatchOptions): AsyncGenerator<ConnectionChange, void, undefined>
}

const TOKEN_DEADLINE_MS = 20_000

/** @param options where Auth's internal API is, and the credential; `fetch` and the deadline can be replaced */
export function serviceClient(options: ClientOptions): ServiceClient {
  return {
    token: async (connectionId, wanted = {}) =>
      (await requestJson(options, {
        method: 'POST',
        path: `/internal/connections/${segment(connectionId)}/token`,
        body: tokenFields(wanted),
        deadlineMs: TOKEN_DEADLINE_MS,
      })) as TokenView,
    tokenOf: async ({ userId, provider }, wanted = {}) =>
      (await requestJson(options, {
        method: 'GET',
        path: '/internal/oauth/token',
        query: { user_id: userId, provider, ...tokenFields(wanted) },
        deadlineMs: TOKEN_DEADLINE_MS,
      })) as TokenView,
    connections: async () => {
      const list = await requestJson(options, { method: 'GET', path: '/internal/connections' })
      return (list as { items: ConnectionView[] }).items
    },
    watchConnections: (wanted = {}) => watchConnections(options, wanted),
  }
}

const tokenFields = ({ minValidSeconds, purpose }: TokenOptions) => ({
  ...(minValidSeconds === undefined ? {} : { min_valid_seconds: minValidSeconds }),
  ...(purpose === undefined ? {} : { purpose }),
})
