/**
 * The two steps of connecting that belong to the console: begin with a binding to this session, and finish with the
 * same one. Never sees a code or a provider token. The sequence is in security.md §2.2, steps 1, 2 and 8.
 */
import type { Deps } from './deps.ts'
import { refused } from './failure.ts'
import type { Input, Reply } from './route.ts'
import { sessionBinding } from './session-binding.ts'
import { type LiveSession, liveSession, platformSession } from './sessions.ts'

/** With our session, or directly with the platform's cookie, which then also starts ours. */
export async function beginConnection(
  deps: Deps,
  input: Input<{ provider: string }, unknown, { scopes?: string[]; connection_id?: string }>,
): Promise<Reply> {
  const session: LiveSession | undefined =
    (await liveSession(deps, input.session)) ?? (await platformSession(deps, input.platformJwt))
  if (session === undefined) return refused('sign_in_required')
  const { scopes, connection_id } = input.body
  const flow = await deps.auth.beginConnection({
    user_id: session.view.user_id,
    provider: input.params.provider,
    session_binding: sessionBinding(deps.serviceSecret, session.view.family_id),
    ...(scopes !== undefined && { scopes }),
    ...(connection_id !== undefined && { connection_id }),
  })
  const body = { authUrl: flow.authUrl }
  return session.cookie === undefined ? { status: 200, body } : { status: 200, body, cookie: session.cookie }
}

/**
 * A ticket without a live session is passed on alone: Auth then burns the flow, so that a stolen ticket cannot wait for
 * its victim to sign in.
 */
export async function finishConnection(
  deps: Deps,
  input: Input<unknown, unknown, { ticket: string }>,
): Promise<Reply> {
  const { ticket } = input.body
  const session = await liveSession(deps, input.session)
  if (session === undefined) {
    await deps.auth.completeConnection({ ticket })
    // Auth answers 401 (thrown). An answer of success would be a flow completed for nobody: never pass it on.
    return refused('sign_in_required')
  }
  const body = await deps.auth.completeConnection({
    ticket,
    user_id: session.view.user_id,
    session_binding: sessionBinding(deps.serviceSecret, session.view.family_id),
  })
  return { status: 200, body }
}

/** A link for an administrator, where only an administrator can agree: the person passes it on. */
export async function linkForAdmin(
  deps: Deps,
  input: Input<{ provider: string }, unknown, { scopes?: string[] }>,
): Promise<Reply> {
  const session = await liveSession(deps, input.session)
  if (session === undefined) return refused('sign_in_required')
  const { scopes } = input.body
  const body = await deps.auth.adminConsentLink({
    user_id: session.view.user_id,
    provider: input.params.provider,
    ...(scopes !== undefined && { scopes }),
  })
  return { status: 200, body }
}
