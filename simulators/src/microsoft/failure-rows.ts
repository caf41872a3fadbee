/**
 * The rows of failure-table.ts, and error pages of a proxy in front, as answers of the token endpoint. It never
 * decides when to fail: a switch does.
 */
import type { FailureRow } from '../provider.ts'
import { htmlAnswer, type RowAnswer } from '../token-faults.ts'
import { type FailureClass, failureGroups } from './failure-table.ts'
import { type StsFailure, stsErrorBody } from './sts-error.ts'

const pages: Record<string, { class: FailureClass; status: number; title: string }> = {
  html500: { class: 'transient', status: 500, title: 'Internal Server Error' },
  html502: { class: 'transient', status: 502, title: 'Bad Gateway' },
  html503: { class: 'transient', status: 503, title: 'Service Unavailable' },
  html504: { class: 'transient', status: 504, title: 'Gateway Timeout' },
  html429: { class: 'throttled', status: 429, title: 'Too Many Requests' },
}

export const microsoftFailureRows: readonly FailureRow[] = [
  ...failureGroups.flatMap((group) =>
    Object.keys(group.codes).map((code) => ({
      row: `AADSTS${code}`,
      class: group.class,
      status: group.status,
      error: group.error,
    })),
  ),
  ...Object.entries(pages).map(([row, page]) => ({
    row,
    class: page.class,
    status: page.status,
    error: null,
  })),
]

/** The failure behind a row such as `AADSTS70008`, or `null`. */
export function findFailure(row: string): StsFailure | null {
  const code = Number(row.replace(/^AADSTS/, ''))
  for (const group of failureGroups) {
    const text = group.codes[code]
    if (text === undefined) continue
    const { status, error, suberror } = group
    return { status, error, code, text, suberror }
  }
  return null
}

/** @throws Error with code `no_such_row`; the control API refuses such a row before */
export function microsoftRowAnswer(row: string, now: number): RowAnswer {
  const page = pages[row]
  if (page !== undefined) return htmlAnswer(page.status, page.title)
  const failure = findFailure(row)
  if (failure === null) throw Object.assign(new Error('no such row'), { code: 'no_such_row' })
  const body = stsErrorBody(failure, now)
  return {
    status: failure.status,
    body,
    headers: {
      'cache-control': 'no-store, no-cache',
      pragma: 'no-cache',
      'x-ms-request-id': body.trace_id,
      'x-ms-clitelem': `1,${failure.code},0,,`,
    },
  }
}
