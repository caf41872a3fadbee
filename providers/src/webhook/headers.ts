/**
 * Reads security headers so that a duplicate can never win by its place (security.md T26): a header that must be
 * there once is there exactly once or not at all. It never trims, folds or joins values.
 */
import type { NotificationRequest } from '../provider.ts'

export type SingleHeader =
  | { readonly kind: 'absent' }
  | { readonly kind: 'one'; readonly value: string }
  | { readonly kind: 'several' }

export function singleHeader(request: NotificationRequest, name: string): SingleHeader {
  const values = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined
  const [value, ...others] = values ?? []
  if (value === undefined) return { kind: 'absent' }
  return others.length > 0 ? { kind: 'several' } : { kind: 'one', value }
}

/** @returns every decoded value of a query parameter, in order. */
export function queryValues(request: NotificationRequest, name: string): readonly string[] {
  return request.query.filter(([key]) => key === name).map(([, value]) => value)
}
