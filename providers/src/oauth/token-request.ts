/**
 * The two requests to a token endpoint, RFC 6749 §4.1.3 with PKCE (RFC 7636) and §6, built and judged with
 * `oauth4webapi`; the client proves itself by `client_secret_post`, which both catalogue providers support. An
 * error answer goes to the provider's own `classify`. No outcome carries a token outside a `Secret`, and no
 * error of the HTTP client leaves this file.
 */
import * as oauth from 'oauth4webapi'
import {
  type HttpAnswer,
  type HttpOutcome,
  jsonOf,
  retryAfterSeconds,
  send,
  transportFailure,
} from '../http-answer.ts'
import type { Failure, Host, Json } from '../provider.ts'
import { Secret } from '../secret.ts'
import { isObject } from '../webhook/hostile-json.ts'

export interface TokenClient {
  readonly host: Host
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly clientSecret: Secret
  readonly classify: (answer: ErrorAnswer) => Failure
}

/** What a token endpoint said instead of tokens. `body` is undefined when it was no JSON. */
export interface ErrorAnswer {
  readonly status: number
  readonly body: Json | undefined
  readonly retryAfterSeconds: number | undefined
}

export type TokenAnswer =
  | {
      readonly kind: 'tokens'
      readonly accessToken: Secret
      readonly refreshToken: Secret | undefined
      readonly idToken: Secret | undefined
      readonly expiresAt: Date
      /** As answered; absent means "as asked" (RFC 6749 §5.1). */
      readonly scope: string | undefined
    }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** When `expires_in` is missing (RFC 6749 only recommends it): short, so that a refresh finds out. */
const UNKNOWN_LIFETIME_SECONDS = 300
const LONGEST_LIFETIME_SECONDS = 7 * 24 * 3600
const VISIBLE_ASCII = /^[\x21-\x7e]+$/

export function redeemCode(
  client: TokenClient,
  request: {
    code: Secret
    codeVerifier: Secret
    redirectUri: string
    more: Record<string, string>
    signal: AbortSignal
  },
): Promise<TokenAnswer> {
  return ask(client, request.signal, (as, party, authentication, options) => {
    // The callback was judged when it arrived; the library wants to see its parameters once more.
    const parameters = oauth.validateAuthResponse(
      as,
      party,
      new URLSearchParams({ code: request.code.reveal() }),
      oauth.expectNoState,
    )
    return oauth.authorizationCodeGrantRequest(
      as,
      party,
      authentication,
      parameters,
      request.redirectUri,
      request.codeVerifier.reveal(),
      { ...options, additionalParameters: request.more },
    )
  })
}

export function refreshTokens(
  client: TokenClient,
  request: { refreshToken: Secret; more: Record<string, string>; signal: AbortSignal },
): Promise<TokenAnswer> {
  return ask(client, request.signal, (as, party, authentication, options) =>
    oauth.refreshTokenGrantRequest(as, party, authentication, request.refreshToken.reveal(), {
      ...options,
      additionalParameters: request.more,
    }),
  )
}

type Call = (
  as: oauth.AuthorizationServer,
  party: oauth.Client,
  authentication: oauth.ClientAuth,
  options: oauth.TokenEndpointRequestOptions,
) => Promise<Response>

async function ask(client: TokenClient, signal: AbortSignal, call: Call): Promise<TokenAnswer> {
  const as: oauth.AuthorizationServer = { issuer: client.issuer, token_endpoint: client.tokenEndpoint }
  const party: oauth.Client = { client_id: client.clientId }
  let outcome: HttpOutcome = { kind: 'failed', code: 'network' }
  await call(as, party, oauth.ClientSecretPost(client.clientSecret.reveal()), {
    // The settings have refused plain http wherever it is not loopback in local mode.
    [oauth.allowInsecureRequests]: client.tokenEndpoint.startsWith('http:'),
    [oauth.customFetch]: async (url, options) => {
      const body = String(options.body)
      outcome = await send(client.host, { method: 'POST', url, headers: options.headers, body, signal })
      return new Response(null, { status: 204 })
    },
  })
  return judgeOutcome(client, outcome, party, as)
}

async function judgeOutcome(
  client: TokenClient,
  outcome: HttpOutcome,
  party: oauth.Client,
  as: oauth.AuthorizationServer,
): Promise<TokenAnswer> {
  if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
  const now = client.host.now()
  const { answer } = outcome
  const body = jsonOf(answer)
  if (answer.status !== 200) {
    const wait = retryAfterSeconds(answer.headers, now)
    return {
      kind: 'failed',
      failure: client.classify({ status: answer.status, body, retryAfterSeconds: wait }),
    }
  }
  const tokens = await judgeTokens(answer, body, party, as, now)
  return tokens ?? { kind: 'failed', failure: transportFailure('bad_token_answer') }
}

/** @returns undefined for a 200 that is no token response (RFC 6749 §5.1). */
async function judgeTokens(
  answer: HttpAnswer,
  body: Json | undefined,
  party: oauth.Client,
  as: oauth.AuthorizationServer,
  now: Date,
): Promise<TokenAnswer | undefined> {
  if (!isObject(body)) return undefined
  // The id token is taken out: the library cannot know issuers that are templates, and checks no signature.
  const { id_token: idToken, ...rest } = body
  if (idToken !== undefined && typeof idToken !== 'string') return undefined
  let tokens: oauth.TokenEndpointResponse
  try {
    const response = new Response(JSON.stringify(rest), { status: answer.status, headers: JSON_TYPE })
    tokens = await oauth.processGenericTokenEndpointResponse(as, party, response)
  } catch {
    return undefined
  }
  // What cannot stand in a header cannot be used later either.
  if (tokens.token_type !== 'bearer' || !VISIBLE_ASCII.test(tokens.access_token)) return undefined
  const lifetime = Math.min(Number(tokens.expires_in ?? UNKNOWN_LIFETIME_SECONDS), LONGEST_LIFETIME_SECONDS)
  return {
    kind: 'tokens',
    accessToken: new Secret(tokens.access_token),
    refreshToken: tokens.refresh_token === undefined ? undefined : new Secret(tokens.refresh_token),
    idToken: idToken === undefined ? undefined : new Secret(idToken),
    expiresAt: new Date(now.getTime() + lifetime * 1000),
    scope: tokens.scope,
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }
