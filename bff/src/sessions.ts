/**
 * Signing in and out. Asks Auth for everything and keeps nothing; the family id, from which flow bindings are derived,
 * never leaves this process.
 */
import { ConnectError, type SessionView } from '@flovify/client'
import type { Deps } from './deps.ts'
import { isOurs, refused } from './failure.ts'
import type { Input, Reply } from './route.ts'

/** Redeems a one-time link or the platform's JWT. A running session is never replaced: 409 before anything is redeemed. */
export async function startSession(
  deps: Deps,
  input: Input<unknown, unknown, { token: string } | { platform: true }>,
): Promise<Reply> {
  if ((await liveSession(deps, input.session)) !== undefined) return refused('already_signed_in')
  if ('token' in input.body) {
    const { token } = input.body
    const started = await unless401(() => deps.auth.createSession({ signin_token: token }))
    if (started === undefined) return refused('link_invalid')
    return {
      status: 201,
      body: publicView(started.session),
      cookie: { token: started.session_token, expiresAt: started.session.expires_at },
    }
  }
  const started = await platformSession(deps, input.platformJwt)
  if (started === undefined) return refused('sign_in_required')
  return { status: 201, body: publicView(started.view), cookie: started.cookie }
}

/** 401 also says whether the platform's cookie is there, so that the page can offer it. */
export async function showSession(deps: Deps, input: Input): Promise<Reply> {
  const live = await liveSession(deps, input.session)
  if (live !== undefined) return { status: 200, body: publicView(live.view) }
  const { status, body } = refused('sign_in_required')
  return { status, body: { ...body, platform: input.platformJwt !== undefined } }
}

export async function endSession(deps: Deps, input: Input): Promise<Reply> {
  const { session } = input
  if (session !== undefined) await unless401(() => deps.auth.endSession(session))
  return { status: 204, cookie: 'clear' }
}

export interface LiveSession {
  readonly view: SessionView
  readonly cookie?: { readonly token: string; readonly expiresAt: string }
}

/** @returns undefined without a session or when Auth knows it no more. @throws ConnectError when Auth does not answer */
export async function liveSession(deps: Deps, token: string | undefined): Promise<LiveSession | undefined> {
  if (token === undefined) return undefined
  const view = await unless401(() => deps.auth.currentSession(token))
  return view === undefined ? undefined : { view }
}

/** Starts our own session from the platform's. */
export async function platformSession(
  deps: Deps,
  jwt: string | undefined,
): Promise<Required<LiveSession> | undefined> {
  if (jwt === undefined) return undefined
  const started = await unless401(() => deps.auth.createSession({ platform_jwt: jwt }))
  if (started === undefined) return undefined
  const cookie = { token: started.session_token, expiresAt: started.session.expires_at }
  return { view: started.session, cookie }
}

function publicView(session: SessionView): Omit<SessionView, 'family_id'> {
  const { user_id, email, name, role, expires_at } = session
  return { user_id, email, name, role, expires_at }
}

async function unless401<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ConnectError && error.status === 401 && !isOurs(error)) return undefined
    throw error
  }
}
