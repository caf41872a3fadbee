/**
 * One attempt: the event's stored bytes, signed with a fresh timestamp, sent once through the egress guard, and what came
 * back in our words. What is kept of the answer has our secrets taken out. It changes no byte of the body and settles
 * nothing.
 */
import { type Clock, monotonicMs } from '../platform/clock.ts'
import type { Vault } from '../vault/vault.ts'
import type { AttemptError } from './attempt-error.ts'
import type { DestinationForAttempt, OpenForAttempt } from './destination-attempt.ts'
import type { Egress, EgressAnswer } from './egress.ts'
import { redactBody, redactHeaders } from './redact.ts'
import type { SendingDestination } from './sending-store.ts'
import type { Attempt } from './settle-store.ts'
import { sign } from './signature.ts'
import type { DeliveryRow } from './store.ts'

export interface AttemptNeeds {
  readonly vault: Vault
  readonly egress: Pick<Egress, 'post'>
  readonly clock: Clock
  /** SERVICE_SEMVER, for the user agent. */
  readonly version: string
}

export interface AttemptResult {
  readonly delivered: boolean
  /** As it is stored. */
  readonly attempt: Attempt
  /** As the receiver said it. */
  readonly retryAfter: string | undefined
  /** Whether this answer is worth another try; what did not come through always is. */
  readonly retries: boolean
  /** The destination's own plan, in milliseconds. */
  readonly stepsMs: readonly number[] | undefined
}

/** @param open opens the destination's row @param body the event's bytes */
export async function attemptDelivery(
  needs: AttemptNeeds,
  open: OpenForAttempt,
  row: DeliveryRow,
  to: SendingDestination,
  body: Buffer,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const startedAt = needs.clock.now()
  const began = monotonicMs()
  const destination = openOrUndefined(open, to.id, to)
  // A key that is missing today may be configured tomorrow: it costs a try of the schedule, not the delivery.
  if (destination === undefined)
    return {
      delivered: false,
      attempt: { startedAt, durationMs: 0, status: null, error: 'vault_error' satisfies AttemptError },
      retryAfter: undefined,
      retries: true,
      stepsMs: to.retry_schedule?.map((seconds) => seconds * 1_000),
    }
  const answer = await needs.egress.post({
    url: destination.url,
    headers: {
      ...destination.headers,
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'user-agent': `FlovifyConnect/${needs.version}`,
      ...sign(destination.keys, row.event_id, startedAt, body),
    },
    body,
    deadlineMs: destination.timeoutMs,
    keepBytes: destination.redact.bodyBytes,
    ca: destination.ca,
    signal,
  })
  const durationMs = monotonicMs() - began
  return judge(destination, answer, { startedAt, durationMs })
}

/** 2xx is delivered, everything else has failed; the words are ours. */
function judge(
  destination: DestinationForAttempt,
  answer: EgressAnswer,
  times: Pick<Attempt, 'startedAt' | 'durationMs'>,
): AttemptResult {
  const stepsMs = destination.retryStepsMs
  const phases = { ...answer.phases }
  const failed = (error: AttemptError): AttemptResult => ({
    delivered: false,
    attempt: { ...times, status: null, error, phases },
    retryAfter: undefined,
    retries: true,
    stepsMs,
  })
  switch (answer.kind) {
    case 'refused':
      return failed(`egress_${answer.reason}`)
    case 'failed':
      return failed(answer.error)
    case 'answered': {
      const { status, retryAfter } = answer
      const delivered = status >= 200 && status < 300
      const error: AttemptError | null = delivered
        ? null
        : status >= 300 && status < 400
          ? 'redirect'
          : `status_${status}`
      const attempt = {
        ...times,
        status,
        error,
        phases,
        responseHeaders: redactHeaders(destination.redact, answer.headers),
        responseBody: answer.body.length === 0 ? undefined : redactBody(destination.redact, answer.body),
      }
      // One that is gone may come back: what it was said to waits there with the others.
      return {
        delivered,
        attempt,
        retryAfter,
        retries: status === 410 || destination.retries(status),
        stepsMs,
      }
    }
    default:
      return answer satisfies never
  }
}

function openOrUndefined(
  open: OpenForAttempt,
  ...given: Parameters<OpenForAttempt>
): DestinationForAttempt | undefined {
  try {
    return open(...given)
  } catch {
    return undefined
  }
}
