/**
 * What a caller is: a service with a name, what it may do, and the connections it may do it to. Only words and shapes.
 */
import type { ConnectionScope } from '../db/connection-scope.ts'

export const PERMISSIONS = [
  'tokens:read',
  'connections:read',
  'events:read',
  'users:delete',
  'proxy',
] as const
export type Permission = (typeof PERMISSIONS)[number]

export const isPermission = (text: string): text is Permission =>
  (PERMISSIONS as readonly string[]).includes(text)

export interface NamedCaller {
  readonly name: string
  readonly permissions: readonly Permission[]
  readonly scope: ConnectionScope
}

/** Begins every token of a caller, so that a leaked one is recognised by a person and by secret scanners. */
export const TOKEN_PREFIX = 'fcs_'

/** What cannot be one of our tokens costs no query. */
export const looksLikeToken = (text: string): boolean => /^fcs_[A-Za-z0-9_-]{43}$/.test(text)
