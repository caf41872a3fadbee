/**
 * Sends one example event to a destination, by the same way as every delivery: signed, with its headers, through the
 * egress guard. The answer is told with what it means and what to do; nothing of it is stored, and nothing is tried again.
 */
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import { type Naming, testEvent } from '../ledger/cloud-event.ts'
import type { Clock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import type { Vault } from '../vault/vault.ts'
import { openForAttempt } from './destination-attempt.ts'
import { findForAttempt } from './destination-store.ts'
import type { DestinationKind } from './destination-values.ts'
import type { Egress, EgressAnswer, Phases } from './egress.ts'
import { explainAnswer } from './explain-answer.ts'
import { type Redact, redactBody, redactHeaders } from './redact.ts'
import { sign } from './signature.ts'

export interface TestNeeds {
  readonly db: Database
  readonly vault: Vault
  readonly egress: Pick<Egress, 'post'>
  readonly clock: Clock
  readonly naming: Naming
  readonly version: string
}

export type TestOutcome =
  | { readonly kind: 'unknown' }
  /** Only n8n destinations have a test address, and this one has none. */
  | { readonly kind: 'no_test_url' }
  | { readonly kind: 'vault_error' }
  | { readonly kind: 'sent'; readonly report: TestReport }

export interface TestReport {
  readonly delivered: boolean
  readonly eventId: string
  readonly status: number | null
  /** One of our fixed words; null when it was answered. */
  readonly error: string | null
  /** For people: what this answer means and what to do. */
  readonly explanation: string
  readonly phases: Phases
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** At most the first 4 KiB. */
  readonly body: string
}

export async function sendTest(
  needs: TestNeeds,
  actor: string,
  id: string,
  to: 'production' | 'test',
): Promise<TestOutcome> {
  const row = await findForAttempt(needs.db, id)
  if (row === undefined) return { kind: 'unknown' }
  const url = to === 'test' ? row.test_url : row.url
  if (url === null) return { kind: 'no_test_url' }
  const destination = openOrUndefined(needs.vault, id, row)
  if (destination === undefined) return { kind: 'vault_error' }
  const eventId = newId('evt')
  const at = needs.clock.now()
  const body = testEvent(needs.naming, eventId, id, at)
  const answer = await needs.egress.post({
    url,
    headers: {
      ...destination.headers,
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'user-agent': `FlovifyConnect/${needs.version}`,
      ...sign(destination.keys, eventId, at, body),
    },
    body,
    deadlineMs: destination.timeoutMs,
    keepBytes: destination.redact.bodyBytes,
    ca: destination.ca,
  })
  const report = reportOf(eventId, row.kind, to, answer, destination.redact)
  await audit(needs.db, {
    actor,
    action: 'destination.tested',
    subject: id,
    detail: { to, status: report.status, error: report.error },
  })
  return { kind: 'sent', report }
}

function openOrUndefined(...given: Parameters<typeof openForAttempt>) {
  try {
    return openForAttempt(...given)
  } catch {
    return undefined
  }
}

function reportOf(
  eventId: string,
  kind: DestinationKind,
  to: 'production' | 'test',
  answer: EgressAnswer,
  redact: Redact,
): TestReport {
  const answered = answer.kind === 'answered' ? answer : undefined
  const body = answered === undefined ? '' : redactBody(redact, answered.body).toString('utf8')
  return {
    delivered: answered !== undefined && answered.status >= 200 && answered.status < 300,
    eventId,
    status: answered?.status ?? null,
    error:
      answer.kind === 'failed' ? answer.error : answer.kind === 'refused' ? `egress_${answer.reason}` : null,
    explanation: explainAnswer(kind, to, answer, body),
    phases: answer.phases,
    headers: answered === undefined ? {} : redactHeaders(redact, answered.headers),
    body,
  }
}
