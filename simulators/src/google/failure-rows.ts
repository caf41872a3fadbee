/**
 * Every row of the error catalogue of protocols/google.md §1.6 as an answer of the token endpoint. The `class`
 * is the document's own last column, for tests that compare; the simulator does nothing with it.
 */
import type { FailureRow } from '../provider.ts'
import { htmlAnswer, type RowAnswer } from '../token-faults.ts'

interface Row {
  class: 'permanent' | 'needs_user' | 'needs_admin' | 'our_config' | 'transient' | 'throttled'
  status: number
  error: string
  description?: string
  subtype?: string
}

const rows: Record<string, Row> = {
  expired_or_revoked: {
    class: 'permanent',
    status: 400,
    error: 'invalid_grant',
    description: 'Token has been expired or revoked.',
  },
  bad_grant: { class: 'permanent', status: 400, error: 'invalid_grant', description: 'Bad Request' },
  invalid_rapt: {
    class: 'needs_user',
    status: 400,
    error: 'invalid_grant',
    description: 'reauth related error (invalid_rapt)',
    subtype: 'invalid_rapt',
  },
  rapt_required: {
    class: 'needs_user',
    status: 400,
    error: 'invalid_grant',
    description: 'reauth related error (rapt_required)',
    subtype: 'rapt_required',
  },
  admin_policy_enforced: { class: 'needs_admin', status: 400, error: 'admin_policy_enforced' },
  client_not_found: {
    class: 'our_config',
    status: 401,
    error: 'invalid_client',
    description: 'The OAuth client was not found.',
  },
  wrong_secret: { class: 'our_config', status: 401, error: 'invalid_client', description: 'Unauthorized' },
  deleted_client: {
    class: 'our_config',
    status: 401,
    error: 'deleted_client',
    description: 'The OAuth client was deleted.',
  },
  unauthorized_client: {
    class: 'our_config',
    status: 401,
    error: 'unauthorized_client',
    description: 'Unauthorized',
  },
  redirect_uri_mismatch: {
    class: 'our_config',
    status: 400,
    error: 'redirect_uri_mismatch',
    description: 'Bad Request',
  },
  invalid_request: {
    class: 'our_config',
    status: 400,
    error: 'invalid_request',
    description: 'Missing required parameter: grant_type',
  },
  invalid_scope: {
    class: 'our_config',
    status: 400,
    error: 'invalid_scope',
    description: 'Some requested scopes were invalid.',
  },
  unsupported_grant_type: {
    class: 'our_config',
    status: 400,
    error: 'unsupported_grant_type',
    description: 'Invalid grant_type',
  },
  internal_failure: {
    class: 'transient',
    status: 400,
    error: 'internal_failure',
    description: 'Backend Error',
  },
  server_error: { class: 'transient', status: 400, error: 'server_error' },
  temporarily_unavailable: { class: 'transient', status: 400, error: 'temporarily_unavailable' },
  transient_description: {
    class: 'transient',
    status: 400,
    error: 'invalid_request',
    description: 'internal_failure',
  },
  rate_limit_403: {
    class: 'throttled',
    status: 403,
    error: 'rate_limit_exceeded',
    description: 'Rate Limit Exceeded',
  },
  rate_limit_429: {
    class: 'throttled',
    status: 429,
    error: 'rate_limit_exceeded',
    description: 'Rate Limit Exceeded',
  },
  http408: { class: 'transient', status: 408, error: 'request_timeout' },
  http500: { class: 'transient', status: 500, error: 'internal_failure' },
  http503: { class: 'transient', status: 503, error: 'backend_error' },
  http504: { class: 'transient', status: 504, error: 'backend_error' },
}

const pages: Record<string, { status: number; title: string }> = {
  html500: { status: 500, title: 'Error 500 (Server Error)!!1' },
  html502: { status: 502, title: 'Error 502 (Server Error)!!1' },
  html503: { status: 503, title: 'Error 503 (Service Unavailable)' },
}

export const googleFailureRows: readonly FailureRow[] = [
  ...Object.entries(rows).map(([row, one]) => ({
    row,
    class: one.class,
    status: one.status,
    error: one.error,
  })),
  ...Object.entries(pages).map(([row, page]) => ({
    row,
    class: 'transient',
    status: page.status,
    error: null,
  })),
]

/** @throws Error with code `no_such_row`; the control API refuses such a row before */
export function googleRowAnswer(name: string): RowAnswer {
  const page = pages[name]
  if (page !== undefined) return htmlAnswer(page.status, page.title)
  const row = rows[name]
  if (row === undefined) throw Object.assign(new Error('no such row'), { code: 'no_such_row' })
  return {
    status: row.status,
    headers: { 'cache-control': 'no-cache, no-store, max-age=0, must-revalidate', pragma: 'no-cache' },
    body: {
      error: row.error,
      ...(row.description === undefined ? {} : { error_description: row.description }),
      ...(row.subtype === undefined ? {} : { error_subtype: row.subtype }),
    },
  }
}
