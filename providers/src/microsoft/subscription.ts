/**
 * Graph change-notification subscriptions (protocols/microsoft.md §2.1, §2.6, §2.7): creates and deletes the lease
 * that makes Graph push, and puts its end off. It believes no expiry that makes no sense.
 */
import { type HttpAnswer, jsonOf, send, transportFailure } from '../http-answer.ts'
import type {
  Host,
  ProviderSubscriptions,
  SubscriptionOutcome,
  SubscriptionRenewal,
  SubscriptionRequest,
} from '../provider.ts'
import { textMember } from '../webhook/hostile-json.ts'
import { classifyGraphError, graphError } from './failure.ts'
import { canonicalScope } from './oauth.ts'
import type { MicrosoftSettings } from './settings.ts'

/** Outlook's maximum is 10,080 minutes [OV25]; ten less, because clocks differ. Some mailboxes still refuse more than 4,230. */
const LIFETIMES_MINUTES = [10_070, 4_230] as const
const MINUTE_MS = 60_000
const SHORTEST_MS = 10 * MINUTE_MS
const LONGEST_MS = 8 * 24 * 60 * MINUTE_MS

const MAIL_SCOPES = new Set(['mail.read', 'mail.readwrite', 'mail.readbasic'])

export function microsoftSubscriptions(settings: MicrosoftSettings, host: Host): ProviderSubscriptions {
  const endpoint = `${settings.graphUrl}/v1.0/subscriptions`
  const canonical = canonicalScope(settings.graphUrl)
  return {
    endsWithGrant: false,
    sharedByAccount: false,
    wanted: (grantedScopes) =>
      grantedScopes.some((scope) => MAIL_SCOPES.has(canonical(scope)))
        ? [{ kind: 'mail', resource: 'me/messages' }]
        : [],

    async create(request) {
      const [longest, shorter] = LIFETIMES_MINUTES
      const first = await post(host, endpoint, request, longest)
      if (first.kind === 'failed') return { kind: 'failed', failure: transportFailure(first.code) }
      if (!isLifetimeRefused(first.answer)) return judge(host, first.answer)
      const second = await post(host, endpoint, request, shorter)
      if (second.kind === 'failed') return { kind: 'failed', failure: transportFailure(second.code) }
      return judge(host, second.answer)
    },

    async renew(request) {
      const url = `${endpoint}/${encodeURIComponent(request.providerSubscriptionId)}`
      const lifetimes = lifetimesAfter(request.grantedLifeMs)
      let answered: HttpAnswer | undefined
      for (const minutes of lifetimes) {
        const outcome = await patch(host, url, request, minutes)
        if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
        answered = outcome.answer
        if (!isLifetimeRefused(answered)) break
      }
      if (answered === undefined || answered.status === 404 || answered.status === 410)
        return { kind: 'gone' }
      const judged = judge(host, answered)
      return judged.kind === 'created' ? { kind: 'renewed', expiresAt: judged.expiresAt } : judged
    },

    async stop(request) {
      const outcome = await send(host, {
        method: 'DELETE',
        url: `${endpoint}/${encodeURIComponent(request.providerSubscriptionId)}`,
        headers: { authorization: `Bearer ${request.accessToken.reveal()}` },
        signal: request.signal,
      })
      if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
      const { status } = outcome.answer
      if (status === 404 || (status >= 200 && status < 300)) return { kind: 'stopped' }
      return { kind: 'failed', failure: classifyGraphError(outcome.answer, host.now()) }
    },
  }
}

function post(host: Host, url: string, request: SubscriptionRequest, minutes: number) {
  return send(host, {
    method: 'POST',
    url,
    headers: {
      authorization: `Bearer ${request.accessToken.reveal()}`,
      'content-type': 'application/json',
      // Ids that survive a move to another folder; must be asked for at creation.
      prefer: 'IdType="ImmutableId"',
    },
    body: JSON.stringify({
      changeType: 'created,updated,deleted',
      notificationUrl: request.notificationUrl,
      lifecycleNotificationUrl: request.notificationUrl,
      resource: request.resource,
      expirationDateTime: new Date(host.now().getTime() + minutes * MINUTE_MS).toISOString(),
      clientState: request.channelSecret.reveal(),
      latestSupportedTlsVersion: 'v1_2',
    }),
    signal: request.signal,
  })
}

/** What was granted before is not overbid: some mailboxes refuse more than 4,230 minutes each time. */
function lifetimesAfter(grantedLifeMs: number | undefined): readonly number[] {
  const [longest, shorter] = LIFETIMES_MINUTES
  return grantedLifeMs !== undefined && grantedLifeMs <= (shorter + 5) * MINUTE_MS
    ? [shorter]
    : [longest, shorter]
}

/** Renews and reauthorises; `reauthorize` is never sent besides (not both within ten minutes) [SUBPATCH, LC26]. */
function patch(host: Host, url: string, request: SubscriptionRenewal, minutes: number) {
  return send(host, {
    method: 'PATCH',
    url,
    headers: { authorization: `Bearer ${request.accessToken.reveal()}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      expirationDateTime: new Date(host.now().getTime() + minutes * MINUTE_MS).toISOString(),
    }),
    signal: request.signal,
  })
}

function isLifetimeRefused(answer: HttpAnswer): boolean {
  if (answer.status !== 400) return false
  const { code, message } = graphError(answer)
  return (code === 'ErrorInvalidParameter' || code === 'InvalidRequest') && /expiration/i.test(message)
}

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/

function judge(host: Host, answer: HttpAnswer): SubscriptionOutcome {
  if (answer.status !== 201 && answer.status !== 200) {
    return { kind: 'failed', failure: classifyGraphError(answer, host.now()) }
  }
  const body = jsonOf(answer)
  const id = textMember(body, 'id')
  const expiration = textMember(body, 'expirationDateTime') ?? ''
  if (id === undefined || !/^[\x21-\x7e]{1,200}$/.test(id)) {
    return { kind: 'failed', failure: transportFailure('bad_subscription_answer') }
  }
  const expiresAt = new Date(TIMESTAMP.test(expiration) ? expiration : Number.NaN)
  const left = expiresAt.getTime() - host.now().getTime()
  // An expiry that makes no sense would be stored and never renewed in time.
  if (!(left >= SHORTEST_MS && left <= LONGEST_MS)) {
    return { kind: 'failed', failure: transportFailure('absurd_expiry') }
  }
  return { kind: 'created', providerSubscriptionId: id, expiresAt }
}
