/**
 * The Gmail watch (protocols/google.md §3): makes Gmail publish to the configured Pub/Sub topic, and stops it. A
 * mailbox has one watch, so its id is a constant; the push goes to the topic's one subscription, not to a URL of
 * this request.
 */
import { type HttpAnswer, jsonOf, send, transportFailure } from '../http-answer.ts'
import type { Host, ProviderSubscriptions, SubscriptionOutcome } from '../provider.ts'
import type { Secret } from '../secret.ts'
import { textMember } from '../webhook/hostile-json.ts'
import { classifyApiError } from './failure.ts'
import type { GoogleSettings } from './settings.ts'

/** Any of these lets `watch`, `stop` and `history` through. */
const GMAIL_SCOPES = new Set([
  'https://mail.google.com/',
  'https://www.googleapis.com/auth/gmail.modify',
  'https://www.googleapis.com/auth/gmail.readonly',
  'https://www.googleapis.com/auth/gmail.metadata',
])
const WATCH_ID = 'gmail-watch'
const SHORTEST_MS = 10 * 60_000
const DAY_MS = 24 * 3600_000
const LONGEST_MS = 8 * DAY_MS

export function googleSubscriptions(settings: GoogleSettings, host: Host): ProviderSubscriptions {
  const mailbox = `${settings.gmailUrl}/gmail/v1/users/me`
  /** Sets the mailbox's one watch, or puts its end off. */
  async function watch(request: { accessToken: Secret; signal: AbortSignal }): Promise<SubscriptionOutcome> {
    const outcome = await send(host, {
      method: 'POST',
      url: `${mailbox}/watch`,
      headers: {
        authorization: `Bearer ${request.accessToken.reveal()}`,
        'content-type': 'application/json',
      },
      // No label filter: filtered watches still report unrelated changes and miss moves.
      body: JSON.stringify({ topicName: settings.topic }),
      signal: request.signal,
    })
    if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
    return judge(host, outcome.answer)
  }
  return {
    endsWithGrant: true,
    // a watch belongs to mailbox and project
    sharedByAccount: true,
    wanted: (grantedScopes) =>
      settings.topic !== undefined && grantedScopes.some((scope) => GMAIL_SCOPES.has(scope))
        ? [{ kind: 'mail', resource: 'gmail' }]
        : [],

    create: watch,
    // recommended once a day (protocols/google.md §3)
    renewWithinMs: DAY_MS,
    async renew(request) {
      const outcome = await watch(request)
      return outcome.kind === 'created' ? { kind: 'renewed', expiresAt: outcome.expiresAt } : outcome
    },

    async stop(request) {
      const outcome = await send(host, {
        method: 'POST',
        url: `${mailbox}/stop`,
        headers: { authorization: `Bearer ${request.accessToken.reveal()}` },
        signal: request.signal,
      })
      if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
      const { status } = outcome.answer
      if (status === 404 || (status >= 200 && status < 300)) return { kind: 'stopped' }
      return { kind: 'failed', failure: classifyApiError(outcome.answer, host.now()) }
    },
  }
}

/** `historyId` is a 64-bit number in text, `expiration` milliseconds in text. */
function judge(host: Host, answer: HttpAnswer): SubscriptionOutcome {
  if (answer.status !== 200) return { kind: 'failed', failure: classifyApiError(answer, host.now()) }
  const body = jsonOf(answer)
  const expiration = textMember(body, 'expiration') ?? ''
  const cursor = textMember(body, 'historyId') ?? ''
  if (!/^\d{1,20}$/.test(cursor)) return { kind: 'failed', failure: transportFailure('bad_watch_answer') }
  const expiresAt = new Date(/^\d{1,16}$/.test(expiration) ? Number(expiration) : Number.NaN)
  const left = expiresAt.getTime() - host.now().getTime()
  if (!(left >= SHORTEST_MS && left <= LONGEST_MS)) {
    return { kind: 'failed', failure: transportFailure('absurd_expiry') }
  }
  return { kind: 'created', providerSubscriptionId: WATCH_ID, expiresAt, cursor }
}
