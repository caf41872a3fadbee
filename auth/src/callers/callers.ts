/**
 * Makes, rotates and ends the credentials of services, and finds whose a token is. A token is 256 random bits, shown
 * once and kept as its SHA-256. Each change is audited in its own transaction. Never decides what a route allows.
 */
import { audit } from '../audit/audit.ts'
import { ALL_CONNECTIONS, type ConnectionScope } from '../db/connection-scope.ts'
import type { Database, Db } from '../db/sql.ts'
import { randomToken, sha256 } from '../platform/ids.ts'
import { isPermission, looksLikeToken, type NamedCaller, type Permission, TOKEN_PREFIX } from './caller.ts'
import {
  type CallerRow,
  endTokensAfter,
  findCallerOfToken,
  findCallers,
  insertCaller,
  insertCallerToken,
  type ListedCaller,
  lockCaller,
  revokeCallerRow,
} from './store.ts'

export interface CallerNeeds {
  readonly db: Database
}

export interface NewCaller {
  readonly name: string
  readonly permissions: readonly Permission[]
  readonly scope: ConnectionScope
}

export type Creation = { readonly kind: 'created'; readonly token: string } | { readonly kind: 'name_taken' }

/** @param actor as in the audit trail: `admin-cli` */
export async function createCaller(needs: CallerNeeds, wanted: NewCaller, actor: string): Promise<Creation> {
  const token = newToken()
  return needs.db.transaction(async (tx): Promise<Creation> => {
    const row = rowOf(wanted)
    if (!(await insertCaller(tx, row))) return { kind: 'name_taken' }
    await insertCallerToken(tx, { tokenHash: sha256(token), caller: wanted.name })
    await audit(tx, {
      actor,
      action: 'caller.created',
      subject: `caller:${wanted.name}`,
      detail: {
        permissions: row.permissions.join(' '),
        all: row.all_connections,
        providers: row.providers.join(' '),
        users: row.users.join(' '),
        connections: row.connections.join(' '),
      },
    })
    return { kind: 'created', token }
  })
}

export type Rotation =
  | { readonly kind: 'rotated'; readonly token: string; readonly earlierUntil: Date | undefined }
  | { readonly kind: 'unknown' }

/** @param overlapSeconds how long the earlier token works beside the new one; 0 ends it at once */
export async function rotateCaller(
  needs: CallerNeeds,
  wanted: { readonly name: string; readonly overlapSeconds: number },
  actor: string,
): Promise<Rotation> {
  const token = newToken()
  return needs.db.transaction(async (tx): Promise<Rotation> => {
    if ((await lockCaller(tx, wanted.name)) === undefined) return { kind: 'unknown' }
    const earlierUntil = await endTokensAfter(tx, {
      caller: wanted.name,
      overlapSeconds: wanted.overlapSeconds,
    })
    await insertCallerToken(tx, { tokenHash: sha256(token), caller: wanted.name })
    await audit(tx, {
      actor,
      action: 'caller.rotated',
      subject: `caller:${wanted.name}`,
      detail: { overlap_seconds: wanted.overlapSeconds },
    })
    return { kind: 'rotated', token, earlierUntil }
  })
}

/** Ends all tokens of the caller: refused within seconds by every process. */
export async function revokeCaller(
  needs: CallerNeeds,
  name: string,
  actor: string,
): Promise<{ readonly kind: 'revoked' | 'unknown' }> {
  return needs.db.transaction(async (tx) => {
    if (!(await revokeCallerRow(tx, name))) return { kind: 'unknown' }
    await audit(tx, { actor, action: 'caller.revoked', subject: `caller:${name}` })
    return { kind: 'revoked' }
  })
}

export const listCallers = (needs: { readonly db: Db }): Promise<ListedCaller[]> => findCallers(needs.db)

/** @returns whose token it is, or undefined when it is unknown, over, or its caller revoked */
export async function callerOfToken(
  needs: { readonly db: Db },
  token: string,
): Promise<NamedCaller | undefined> {
  if (!looksLikeToken(token)) return undefined
  const row = await findCallerOfToken(needs.db, sha256(token))
  return row === undefined
    ? undefined
    : { name: row.name, permissions: row.permissions.filter(isPermission), scope: scopeOf(row) }
}

/** A named caller asked for what it may not: who, what, and which connection, if the path named one. */
export const recordDenial = (
  needs: { readonly db: Db },
  caller: string,
  what: { readonly route: string; readonly permission: string; readonly subject: string },
): Promise<void> =>
  audit(needs.db, {
    actor: `caller:${caller}`,
    action: 'caller.denied',
    subject: what.subject,
    detail: { route: what.route, permission: what.permission },
  })

const newToken = (): string => `${TOKEN_PREFIX}${randomToken()}`

const rowOf = ({ name, permissions, scope }: NewCaller): CallerRow => ({
  name,
  permissions,
  all_connections: scope.kind === 'all',
  providers: scope.kind === 'all' ? [] : scope.providers,
  users: scope.kind === 'all' ? [] : scope.users,
  connections: scope.kind === 'all' ? [] : scope.connections,
})

const scopeOf = (row: CallerRow): ConnectionScope =>
  row.all_connections
    ? ALL_CONNECTIONS
    : { kind: 'limited', providers: row.providers, users: row.users, connections: row.connections }
