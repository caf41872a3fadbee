/**
 * Calls a provider's API with a connection's token, for a service that never sees the token. The host is the API's fixed
 * one; redirects are returned and not followed; the answer is streamed. After a 401 the token is refreshed once and the
 * request sent once more, if its body was kept. Each call is audited before its answer is passed on; neither audit nor
 * log has a token, a query or a body.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { ProviderApi, Secret } from '@flovify/providers'
import { type Dispatcher, request } from 'undici'
import { audit } from '../audit/audit.ts'
import type { ConnectionScope } from '../db/connection-scope.ts'
import type { Db } from '../db/sql.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { type ProxyBody, readProxyBody } from './body.ts'
import { outgoingHeaders, type PassedHeaders, returnedHeaders } from './headers.ts'
import { joinTarget, type ProxyTarget, readTarget } from './path.ts'

export interface ProxyToken {
  readonly kind: 'token'
  readonly accessToken: Secret
  readonly provider: string
  readonly version: number
}

/** Of the room of connections. `Refusal` says why there is no token; only the door reads it. */
export interface ProxyTokens<Refusal> {
  read(
    scope: ConnectionScope,
    connectionId: string,
  ): Promise<ProxyToken | { readonly kind: 'refused'; readonly refusal: Refusal }>
  /** After the provider refused this version of it. The same version again: nothing newer can be had. */
  renew(
    scope: ConnectionScope,
    connectionId: string,
    rejected: ProxyToken,
  ): Promise<ProxyToken | { readonly kind: 'refused'; readonly refusal: Refusal }>
}

export interface ProxyNeeds<Refusal> {
  readonly db: Db
  readonly tokens: ProxyTokens<Refusal>
  readonly apis: (provider: string) => readonly ProviderApi[]
  readonly dispatcher: Dispatcher
  readonly metrics: Metrics
  readonly log: Log
  readonly monotonicMs: () => number
}

export interface ProxyCall {
  readonly actor: string
  readonly scope: ConnectionScope
  readonly connectionId: string
  readonly method: string
  /** What follows `/proxy/`, byte for byte. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: Readable | undefined
  /** Aborted when the client goes away: then the provider's side is ended too. */
  readonly signal: AbortSignal
}

export type ProxyOutcome<Refusal> =
  | {
      readonly kind: 'answered'
      readonly status: number
      readonly headers: PassedHeaders
      readonly body: Readable
    }
  | { readonly kind: 'bad_path' }
  | { readonly kind: 'unknown_api' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'failed'; readonly reason: 'timeout' | 'network' | 'client_gone' }

export interface ApiProxy<Refusal> {
  call(call: ProxyCall): Promise<ProxyOutcome<Refusal>>
}

const HEAD_MS = 25_000
const SILENCE_MS = 25_000
/** Of the whole exchange, from the first byte asked to the last one passed on. */
const WHOLE_MS = 120_000
/** A provider that always answers 401 does not cause a refresh with every call. */
const RENEW_EVERY_MS = 30_000
const REMEMBERED = 10_000

export function openProxy<Refusal>(needs: ProxyNeeds<Refusal>): ApiProxy<Refusal> {
  const renewed = new Map<string, number>()

  function mayRenew(connectionId: string): boolean {
    const now = needs.monotonicMs()
    const before = renewed.get(connectionId)
    if (before !== undefined && now - before < RENEW_EVERY_MS) return false
    if (renewed.size >= REMEMBERED) renewed.clear()
    renewed.set(connectionId, now)
    return true
  }

  return {
    async call(call) {
      const target = readTarget(call.target)
      if (target === undefined) return { kind: 'bad_path' }
      const token = await needs.tokens.read(call.scope, call.connectionId)
      if (token.kind === 'refused') return token
      const api = needs.apis(token.provider).find(({ name }) => name === target.api)
      if (api === undefined) return { kind: 'unknown_api' }
      const url = joinTarget(api.baseUrl, target)
      if (url === undefined) return { kind: 'bad_path' }

      const signal = AbortSignal.any([call.signal, AbortSignal.timeout(WHOLE_MS)])
      const body = await readProxyBody(call.body).catch(() => undefined)
      if (body === undefined) return { kind: 'failed', reason: 'client_gone' }
      const asked = { url, method: call.method, headers: outgoingHeaders(call.headers), body, signal }
      const done = (outcome: Answer | Failed) => settle(needs, call, target, token.provider, outcome)

      const first = await send(needs, asked, lengthOf(call.headers), token)
      if (first.kind === 'failed' || first.status !== 401 || body.kind === 'streamed') return done(first)
      if (!mayRenew(call.connectionId)) return done(first)
      const fresh = await needs.tokens.renew(call.scope, call.connectionId, token)
      if (fresh.kind === 'token' && fresh.version === token.version) return done(first)
      await first.body.dump().catch(() => undefined)
      if (fresh.kind === 'refused') return fresh
      return done(await send(needs, asked, undefined, fresh))
    },
  }
}

interface Asked {
  readonly url: URL
  readonly method: string
  readonly headers: PassedHeaders
  readonly body: ProxyBody
  readonly signal: AbortSignal
}

interface Answer {
  readonly kind: 'answered'
  readonly status: number
  readonly headers: PassedHeaders
  readonly body: Dispatcher.ResponseData['body']
}

interface Failed {
  readonly kind: 'failed'
  readonly reason: 'timeout' | 'network' | 'client_gone'
}

async function send<R>(
  needs: ProxyNeeds<R>,
  asked: Asked,
  length: string | undefined,
  token: ProxyToken,
): Promise<Answer | Failed> {
  const { body } = asked
  try {
    const response = await request(asked.url, {
      dispatcher: needs.dispatcher,
      method: asked.method as Dispatcher.HttpMethod,
      headers: {
        ...asked.headers,
        ...(body.kind === 'streamed' && length !== undefined ? { 'content-length': length } : {}),
        authorization: `Bearer ${token.accessToken.reveal()}`,
      },
      body: body.kind === 'none' ? null : body.kind === 'kept' ? body.bytes : body.stream,
      signal: asked.signal,
      headersTimeout: HEAD_MS,
      bodyTimeout: SILENCE_MS,
    })
    const headers = returnedHeaders(response.headers)
    return { kind: 'answered', status: response.statusCode, headers, body: response.body }
  } catch (error) {
    // the error may carry the request with its token: only its class and code are kept
    needs.log.warn({ provider: token.provider, ...errorFields(error) }, 'a proxied call got no answer')
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const late = asked.signal.aborted || /TIMEOUT|ETIMEDOUT/.test(code)
    return { kind: 'failed', reason: late ? 'timeout' : 'network' }
  }
}

/** @throws when the audit cannot be written: then nothing is passed on */
async function settle<R>(
  needs: ProxyNeeds<R>,
  call: ProxyCall,
  target: ProxyTarget,
  provider: string,
  outcome: Answer | Failed,
): Promise<Answer | Failed> {
  const status = outcome.kind === 'answered' ? outcome.status : null
  needs.metrics.proxyCalls(provider, target.api, status === null ? 'failed' : `${Math.floor(status / 100)}xx`)
  try {
    await audit(needs.db, {
      actor: call.actor,
      action: 'proxy.called',
      subject: call.connectionId,
      detail: { provider, api: target.api, method: call.method, path: target.path.slice(0, 512), status },
    })
  } catch (error) {
    if (outcome.kind === 'answered') outcome.body.destroy()
    throw error
  }
  return call.signal.aborted && outcome.kind === 'failed'
    ? { kind: 'failed', reason: 'client_gone' }
    : outcome
}

const lengthOf = (headers: IncomingHttpHeaders): string | undefined =>
  /^\d{1,15}$/.test(headers['content-length'] ?? '') ? headers['content-length'] : undefined
