/**
 * Ends a grant at Google (protocols/google.md §1.7): one call takes away every scope that the account gave to the project,
 * for all its clients. Whoever calls makes sure that no other connection lives on the same grant. It needs no client
 * secret, and never sends the token in a URL.
 */
import { jsonOf, send, transportFailure } from '../http-answer.ts'
import type { GrantRevocation, Host, RevocationOutcome } from '../provider.ts'
import { textMember } from '../webhook/hostile-json.ts'
import { classifyApiError } from './failure.ts'
import type { GoogleSettings } from './settings.ts'

export async function revokeGrant(
  settings: GoogleSettings,
  host: Host,
  request: GrantRevocation,
): Promise<RevocationOutcome> {
  const outcome = await send(host, {
    method: 'POST',
    url: `${settings.tokenUrl}/revoke`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token: request.token.reveal() }).toString(),
    signal: request.signal,
  })
  if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
  const { answer } = outcome
  if (answer.status === 200) return { kind: 'revoked' }
  // A token that is dead already has no grant behind it that this call could end.
  if (answer.status === 400 && textMember(jsonOf(answer), 'error') === 'invalid_token')
    return { kind: 'revoked' }
  const failure = classifyApiError(answer, host.now())
  // Only an answer about the token ends it; anything else may be a proxy's or a passing fault.
  return {
    kind: 'failed',
    failure: failure.class === 'throttled' ? failure : { ...failure, class: 'transient' },
  }
}
