/**
 * Builds an authorization request: RFC 6749 §4.1.1 with PKCE S256 (RFC 7636 §4.3) and the OpenID Connect nonce.
 * Pure; state, nonce and challenge are made by the caller.
 */
import type { AuthorizationRequest } from '../provider.ts'

export function authorizationUrl(
  endpoint: string,
  clientId: string,
  request: AuthorizationRequest & { readonly scopes: readonly string[] },
  more: Readonly<Record<string, string>>,
): URL {
  const url = new URL(endpoint)
  const parameters: Record<string, string> = {
    client_id: clientId,
    response_type: 'code',
    redirect_uri: request.redirectUri,
    scope: request.scopes.join(' '),
    state: request.state,
    nonce: request.nonce,
    code_challenge: request.codeChallenge,
    code_challenge_method: 'S256',
    ...more,
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url
}
