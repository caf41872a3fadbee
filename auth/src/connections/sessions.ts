/**
 * Sessions of the console: rows with the hash of a 256-bit token, so that they can be revoked. One begins with a
 * one-time link (ten minutes, once) or with the platform's own JWT, and then ends with it. The family id binds OAuth
 * flows to a session. Never stores a token, never renews one silently.
 */
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { sqlState } from '../db/sql.ts'
import { newId, randomToken, sha256 } from '../platform/ids.ts'
import { endFlowsOf } from './flow-store.ts'
import type { PlatformJwtJudge } from './platform-jwt.ts'
import {
  findSession,
  findUser,
  findUserByEmail,
  insertLink,
  insertSession,
  insertUser,
  type Role,
  redeemLink,
  revokeFamilyOf,
  type SessionRow,
} from './session-store.ts'

export const SESSION_SECONDS = 12 * 60 * 60
export const LINK_SECONDS = 10 * 60

export interface SessionNeeds {
  readonly db: Database
  /** Absent: the platform's JWT is not configured. */
  readonly platformJwt: PlatformJwtJudge | undefined
}

export interface SessionView {
  readonly user_id: string
  readonly email: string
  readonly name: string | null
  readonly role: Role
  readonly family_id: string
  readonly expires_at: string
}

export type LinkOutcome =
  | { readonly kind: 'made'; readonly token: string; readonly expiresAt: Date }
  /** The platform's own user table does not take a user from us. */
  | { readonly kind: 'unknown_user' }

/** Makes a one-time link for an address; the user is made when unknown. The role is the link's. */
export async function makeSigninLink(
  needs: Pick<SessionNeeds, 'db'>,
  wanted: { email: string; role: Role; actor: string },
): Promise<LinkOutcome> {
  const userId = await userFor(needs, wanted)
  if (userId === undefined) return { kind: 'unknown_user' }
  const token = randomToken()
  return needs.db.transaction(async (tx): Promise<LinkOutcome> => {
    const link = await insertLink(tx, {
      tokenHash: sha256(token),
      userId,
      role: wanted.role,
      validSeconds: LINK_SECONDS,
    })
    if (link === undefined) return { kind: 'unknown_user' }
    await audit(tx, {
      actor: wanted.actor,
      action: 'signin_link.created',
      subject: `user:${userId}`,
      detail: { role: wanted.role },
    })
    return { kind: 'made', token, expiresAt: link.expires_at }
  })
}

/** 42703 no such column, 23502 not null, 23514 check: the table wants more or other than we know. */
const FOREIGN_TABLE = ['42703', '23502', '23514']

async function userFor(
  needs: Pick<SessionNeeds, 'db'>,
  wanted: { email: string; role: Role },
): Promise<string | undefined> {
  try {
    const known = await findUserByEmail(needs.db, wanted.email)
    if (known !== undefined) return known.id
    const made = await insertUser(needs.db, wanted)
    // made by another request at the same moment
    return (made ?? (await findUserByEmail(needs.db, wanted.email)))?.id
  } catch (error) {
    if (FOREIGN_TABLE.includes(sqlState(error) ?? '')) return undefined
    throw error
  }
}

export type SessionOutcome =
  | { readonly kind: 'begun'; readonly token: string; readonly session: SessionView }
  | { readonly kind: 'refused' }
  /** The platform's keys cannot be read now. */
  | { readonly kind: 'unavailable' }

export async function beginSessionByLink(
  needs: Pick<SessionNeeds, 'db'>,
  linkToken: string,
): Promise<SessionOutcome> {
  const token = randomToken()
  const begun = await redeemLink(needs.db, sha256(linkToken), newSession(token))
  return begun === undefined ? { kind: 'refused' } : begunSession(needs, token, begun.user_id, 'link')
}

/** The user must exist: the platform makes its users, not its tokens. */
export async function beginSessionByPlatformJwt(needs: SessionNeeds, jwt: string): Promise<SessionOutcome> {
  if (needs.platformJwt === undefined) return { kind: 'refused' }
  const verdict = await needs.platformJwt(jwt)
  if (verdict.kind === 'unavailable') return { kind: 'unavailable' }
  if (verdict.kind === 'invalid') return { kind: 'refused' }
  const user = await findUser(needs.db, verdict.userId)
  if (user === undefined) return { kind: 'refused' }
  const token = randomToken()
  await insertSession(needs.db, {
    ...newSession(token),
    userId: user.id,
    role: verdict.role,
    endsAt: verdict.expiresAt,
  })
  return begunSession(needs, token, user.id, 'platform_jwt')
}

const newSession = (token: string) => ({
  tokenHash: sha256(token),
  familyId: newId('fam'),
  validSeconds: SESSION_SECONDS,
})

async function begunSession(
  needs: Pick<SessionNeeds, 'db'>,
  token: string,
  userId: string,
  by: string,
): Promise<SessionOutcome> {
  await audit(needs.db, {
    actor: `user:${userId}`,
    action: 'session.begun',
    subject: `user:${userId}`,
    detail: { by },
  })
  const session = await currentSession(needs, token)
  return session === undefined ? { kind: 'refused' } : { kind: 'begun', token, session }
}

/** @returns the session of a token, or undefined when it is unknown, over or revoked */
export async function currentSession(
  needs: Pick<SessionNeeds, 'db'>,
  token: string,
): Promise<SessionView | undefined> {
  // what cannot be one of our tokens costs no query
  if (!/^[A-Za-z0-9_-]{43}$/.test(token)) return undefined
  const row = await findSession(needs.db, sha256(token))
  return row === undefined ? undefined : viewOf(row)
}

/** Who calls, for the door: as `Caller` of `http/route.ts`. */
export async function callerOfSession(
  needs: Pick<SessionNeeds, 'db'>,
  token: string,
): Promise<{ userId: string; role: Role; familyId: string; email: string } | undefined> {
  const session = await currentSession(needs, token)
  return session === undefined
    ? undefined
    : { userId: session.user_id, role: session.role, familyId: session.family_id, email: session.email }
}

/** Signs out: the whole family, and what the user has begun and not completed is dead at once, its secrets wiped. */
export async function endSession(needs: Pick<SessionNeeds, 'db'>, token: string): Promise<void> {
  await needs.db.transaction(async (tx) => {
    const [ended] = await revokeFamilyOf(tx, sha256(token))
    if (ended === undefined) return
    const flows = await endFlowsOf(tx, { ownerId: ended.user_id, reason: 'signed_out' })
    await audit(tx, {
      actor: `user:${ended.user_id}`,
      action: 'session.ended',
      subject: `user:${ended.user_id}`,
      detail: { flows: flows.length },
    })
  })
}

const viewOf = (row: SessionRow): SessionView => ({
  user_id: row.user_id,
  email: row.email ?? '',
  name: row.name,
  role: row.role,
  family_id: row.family_id,
  expires_at: row.expires_at.toISOString(),
})
