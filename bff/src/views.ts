/**
 * What the console's screens show. Forwards the person's session token and returns what Auth returns: which rows a
 * person sees is decided there, in SQL. Keeps and adds nothing.
 */
import type { EventQuery } from '@flovify/client'
import type { Deps } from './deps.ts'
import { refused } from './failure.ts'
import type { Input, Reply } from './route.ts'
import { liveSession } from './sessions.ts'

/** Not user-scoped in the internal API, so the session is judged here. */
export async function providers(deps: Deps, input: Input): Promise<Reply> {
  if ((await liveSession(deps, input.session)) === undefined) return refused('sign_in_required')
  return { status: 200, body: await deps.auth.providers() }
}

export const connections = (deps: Deps, input: Input): Promise<Reply> =>
  withSession(input, async (session) => ({ status: 200, body: await deps.auth.connections(session) }))

export const disconnect = (deps: Deps, input: Input<{ id: string }>): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.disconnect(session, input.params.id),
  }))

export const events = (
  deps: Deps,
  input: Input<unknown, { cursor?: string; after?: string; limit?: string }>,
): Promise<Reply> =>
  withSession(input, async (session) => {
    const { cursor, after, limit } = input.query
    const query: EventQuery = {
      ...(cursor !== undefined && { cursor }),
      ...(after !== undefined && { after }),
      ...(limit !== undefined && { limit: Number(limit) }),
    }
    return { status: 200, body: await deps.auth.events(session, query) }
  })

export const event = (deps: Deps, input: Input<{ id: string }>): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.event(session, input.params.id),
  }))

/** Whether the session lives is judged by Auth in the call itself. */
export async function withSession(input: Input, view: (session: string) => Promise<Reply>): Promise<Reply> {
  return input.session === undefined ? refused('sign_in_required') : view(input.session)
}
