/**
 * Where the proxy meets the tokens of the connections and the APIs of the providers. Its connections to providers are a
 * pool of their own, so that a slow API takes none that refreshing needs.
 */
import type { Provider } from '@flovify/providers'
import { Agent } from 'undici'
import type { TokenRead, TokenReader } from './connections/token-read.ts'
import type { Db } from './db/sql.ts'
import type { ProxyRefusal } from './http/proxy-routes.ts'
import type { Log } from './platform/log.ts'
import type { Metrics } from './platform/metrics.ts'
import { type ApiProxy, openProxy, type ProxyToken } from './proxy/proxy.ts'

const MIN_VALID_SECONDS = 60
const CONNECT_MS = 10_000

export interface ComposedProxy {
  readonly room: ApiProxy<ProxyRefusal>
  /** Cuts what is still on the way. */
  close(): Promise<void>
}

export function composeProxy(parts: {
  readonly db: Db
  readonly tokens: Pick<TokenReader, 'read' | 'renewRejected'>
  readonly provider: (id: string) => Provider | undefined
  readonly metrics: Metrics
  readonly log: Log
  readonly monotonicMs: () => number
}): ComposedProxy {
  const { tokens, provider, ...rest } = parts
  const dispatcher = new Agent({ connect: { timeout: CONNECT_MS } })
  const room = openProxy<ProxyRefusal>({
    ...rest,
    dispatcher,
    apis: (id) => provider(id)?.apis ?? [],
    tokens: {
      read: async (scope, id) => asProxyToken(await tokens.read(id, MIN_VALID_SECONDS, scope)),
      renew: async (scope, id, rejected) => asProxyToken(await tokens.renewRejected(id, rejected, scope)),
    },
  })
  return { room, close: () => dispatcher.destroy() }
}

function asProxyToken(
  read: TokenRead,
): ProxyToken | { readonly kind: 'refused'; readonly refusal: ProxyRefusal } {
  if (read.kind !== 'token') return { kind: 'refused', refusal: read }
  const { accessToken, provider, version } = read
  return { kind: 'token', accessToken, provider, version }
}
