/**
 * Which connections a service may touch, and the one place where that becomes SQL: every query that a named caller
 * reaches carries `within(scope, …)`. Each list that is not empty narrows; a scope whose lists are all empty holds
 * nothing, so that a forgotten limit opens no door.
 */
import { join, type Sql, sql } from './sql.ts'

export type ConnectionScope =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'limited'
      readonly providers: readonly string[]
      readonly users: readonly string[]
      readonly connections: readonly string[]
    }

/** For the holder of SERVICE_SECRET, who acts for everybody. */
export const ALL_CONNECTIONS: ConnectionScope = { kind: 'all' }

/** Columns of a connection as the query names them: ours, never input. */
export interface ScopeColumns {
  readonly id: Sql
  readonly owner: Sql
  readonly provider: Sql
}

/** @returns a condition for `where` */
export function within(scope: ConnectionScope, columns: ScopeColumns): Sql {
  if (scope.kind === 'all') return sql`true`
  const limits: Sql[] = []
  if (scope.providers.length > 0) limits.push(sql`${columns.provider} = any(${scope.providers}::text[])`)
  if (scope.users.length > 0) limits.push(sql`${columns.owner} = any(${scope.users}::text[])`)
  if (scope.connections.length > 0) limits.push(sql`${columns.id} = any(${scope.connections}::text[])`)
  return limits.length === 0 ? sql`false` : sql`(${join(limits, ' and ')})`
}

/** Whether all that a user has is within: only then a service may act on the user as a whole. */
export const coversUser = (scope: ConnectionScope, userId: string): boolean =>
  scope.kind === 'all' ||
  (scope.users.includes(userId) && scope.providers.length === 0 && scope.connections.length === 0)
