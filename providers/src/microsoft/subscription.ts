/**
 * Graph change-notification subscriptions (protocols/microsoft.md §2.1, §2.6, §2.7): creates and deletes the lease
 * that makes Graph push, and puts its end off. It believes no expiry that makes no sense.
 */
import { type HttpAnswer, jsonOf, send, transportFailure } from '../http-answer.ts'
import type {
  Host,
  ListingOutcome,
  ProviderSubscriptions,
  SubscriptionOutcome,
  SubscriptionRenewal,
  SubscriptionRequest,
} from '../provider.ts'
import type { Secret } from '../secret.ts'
import { isArray, member, textMember } from '../webhook/hostile-json.ts'
import { microsoftCheck } from './check.ts'
import { classifyGraphError, graphError } from './failure.ts'
import { newCertificate } from './resource-data/certificate.ts'
import { wantedOf, wantsData, watchedResource } from './resources.ts'
import type { MicrosoftSettings } from './settings.ts'

const MINUTE_MS = 60_000
const DAY_MINUTES = 24 * 60
const MOST_PAGES = 20
const SUBSCRIPTION_ID = /^[\x21-\x7e]{1,200}$/
const SHORTEST_MS = 10 * MINUTE_MS
const UNKNOWN = { kind: 'failed', failure: { class: 'our_configuration', code: 'unknown_resource' } } as const

export function microsoftSubscriptions(settings: MicrosoftSettings, host: Host): ProviderSubscriptions {
  const endpoint = `${settings.graphUrl}/v1.0/subscriptions`
  return {
    endsWithGrant: false,
    pausesWithToken: settings.renewWithinToken,
    encryption: {
      wants: (of) => wantsData(settings, of),
      newCertificate: () => newCertificate(host.now()),
    },
    sharedByAccount: () => false,
    wanted: (grantedScopes) => wantedOf(settings, grantedScopes),
    check: microsoftCheck(settings, host),
    pushDelayMs: (resource) => watchedResource(resource)?.pushDelayMs ?? DAY_MINUTES * MINUTE_MS,

    async create(request) {
      const watched = formOf(request)
      if (watched === undefined) return UNKNOWN
      const [longest, shorter] = watched.lifetimes
      const first = await post(host, endpoint, request, watched, longest)
      if (first.kind === 'failed') return { kind: 'failed', failure: transportFailure(first.code) }
      if (!isLifetimeRefused(first.answer)) return judge(host, first.answer, watched)
      const second = await post(host, endpoint, request, watched, shorter)
      if (second.kind === 'failed') return { kind: 'failed', failure: transportFailure(second.code) }
      return judge(host, second.answer, watched)
    },

    async renew(request) {
      const url = `${endpoint}/${encodeURIComponent(request.providerSubscriptionId)}`
      const watched = formOf(request)
      if (watched === undefined) return UNKNOWN
      const lifetimes = lifetimesAfter(watched, request.grantedLifeMs)
      let answered: HttpAnswer | undefined
      for (const minutes of lifetimes) {
        const outcome = await patch(host, url, request, minutes)
        if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
        answered = outcome.answer
        if (!isLifetimeRefused(answered)) break
      }
      if (answered === undefined || answered.status === 404 || answered.status === 410)
        return { kind: 'gone' }
      const judged = judge(host, answered, watched)
      return judged.kind === 'created' ? { kind: 'renewed', expiresAt: judged.expiresAt } : judged
    },

    list: (request) => listAll(host, endpoint, request),

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

/** What is asked for with a certificate is another resource to Graph: only some properties of it, and a shorter life. */
interface SubscriptionForm {
  readonly changeType: string
  readonly resource: string
  readonly lifetimes: readonly [number, number]
}

function formOf(request: SubscriptionRequest | SubscriptionRenewal): SubscriptionForm | undefined {
  const watched = watchedResource(request.resource)
  if (watched === undefined || request.encryption === undefined) return watched
  if (watched.withData === undefined) return undefined
  const { select, lifetimes } = watched.withData
  return {
    changeType: watched.changeType,
    resource: `${watched.resource}?$select=${select.join(',')}`,
    lifetimes,
  }
}

/** `encryptionCertificate` and its id ride on the creation and on each renewal: so they are changed [RD26]. */
function certificateOf({ encryption }: SubscriptionRequest | SubscriptionRenewal) {
  return encryption === undefined
    ? {}
    : {
        encryptionCertificate: encryption.certificate,
        encryptionCertificateId: encryption.certificateId,
      }
}

/** Of this app and this person, page by page; lists have shown expired items too [protocols §2.6]. */
async function listAll(
  host: Host,
  endpoint: string,
  request: { readonly accessToken: Secret; readonly signal: AbortSignal },
): Promise<ListingOutcome> {
  const items: { providerSubscriptionId: string; notificationUrl: string }[] = []
  let url = endpoint
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const outcome = await send(host, {
      method: 'GET',
      url,
      headers: { authorization: `Bearer ${request.accessToken.reveal()}` },
      signal: request.signal,
    })
    if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
    if (outcome.answer.status !== 200)
      return { kind: 'failed', failure: classifyGraphError(outcome.answer, host.now()) }
    const body = jsonOf(outcome.answer)
    const value = member(body, 'value')
    for (const item of isArray(value) ? value : []) {
      const id = textMember(item, 'id')
      const notificationUrl = textMember(item, 'notificationUrl')
      if (id !== undefined && SUBSCRIPTION_ID.test(id) && notificationUrl !== undefined)
        items.push({ providerSubscriptionId: id, notificationUrl })
    }
    const next = textMember(body, '@odata.nextLink')
    // a page is asked for with the token: nowhere else than here
    if (next === undefined || !next.startsWith(`${endpoint}?`)) break
    url = next
  }
  return { kind: 'listed', items }
}

function post(
  host: Host,
  url: string,
  request: SubscriptionRequest,
  watched: SubscriptionForm,
  minutes: number,
) {
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
      changeType: watched.changeType,
      notificationUrl: request.notificationUrl,
      lifecycleNotificationUrl: request.notificationUrl,
      resource: watched.resource,
      expirationDateTime: new Date(host.now().getTime() + minutes * MINUTE_MS).toISOString(),
      clientState: request.channelSecret.reveal(),
      latestSupportedTlsVersion: 'v1_2',
      ...(request.encryption === undefined ? {} : { includeResourceData: true }),
      ...certificateOf(request),
    }),
    signal: request.signal,
  })
}

/** What was granted before is not overbid: some mailboxes refuse more than 4,230 minutes each time. */
function lifetimesAfter(watched: SubscriptionForm, grantedLifeMs: number | undefined): readonly number[] {
  const [longest, shorter] = watched.lifetimes
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
      ...certificateOf(request),
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

function judge(host: Host, answer: HttpAnswer, watched: SubscriptionForm): SubscriptionOutcome {
  if (answer.status !== 201 && answer.status !== 200) {
    return { kind: 'failed', failure: classifyGraphError(answer, host.now()) }
  }
  const body = jsonOf(answer)
  const id = textMember(body, 'id')
  const expiration = textMember(body, 'expirationDateTime') ?? ''
  if (id === undefined || !SUBSCRIPTION_ID.test(id)) {
    return { kind: 'failed', failure: transportFailure('bad_subscription_answer') }
  }
  const expiresAt = new Date(TIMESTAMP.test(expiration) ? expiration : Number.NaN)
  const left = expiresAt.getTime() - host.now().getTime()
  // An expiry that makes no sense would be stored and never renewed in time.
  const longestMs = (watched.lifetimes[0] + DAY_MINUTES) * MINUTE_MS
  if (!(left >= SHORTEST_MS && left <= longestMs)) {
    return { kind: 'failed', failure: transportFailure('absurd_expiry') }
  }
  return { kind: 'created', providerSubscriptionId: id, expiresAt }
}
