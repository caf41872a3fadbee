/**
 * The Gmail watch (protocols/google.md §3) and the `web_hook` channels of Drive and Calendar (§4). A mailbox has one
 * watch, so its id is a constant; it is prolonged by being made again. A channel cannot be prolonged: a new one is made
 * and then the old one is stopped. Its id here is `<channel id>/<resource id>`, since stopping asks for both.
 */
import { randomUUID } from 'node:crypto'
import { type HttpAnswer, jsonOf, send, transportFailure } from '../http-answer.ts'
import type {
  Host,
  Json,
  ProviderSubscriptions,
  SubscriptionOutcome,
  SubscriptionRequest,
} from '../provider.ts'
import type { Secret } from '../secret.ts'
import { member, textMember } from '../webhook/hostile-json.ts'
import { googleChecks } from './check.ts'
import { classifyApiError } from './failure.ts'
import { DRIVE_CHANGES, GMAIL, wantedOf, watchedResource } from './resources.ts'
import type { GoogleSettings } from './settings.ts'

const WATCH_ID = 'gmail-watch'
const SHORTEST_MS = 10 * 60_000
const DAY_MS = 24 * 3600_000

export function googleSubscriptions(settings: GoogleSettings, host: Host): ProviderSubscriptions {
  const mailbox = `${settings.gmailUrl}/gmail/v1/users/me`
  const checks = googleChecks(settings, host)
  const post = (request: { accessToken: Secret; signal: AbortSignal }, url: string, body?: object) =>
    send(host, {
      method: 'POST',
      url,
      headers: {
        authorization: `Bearer ${request.accessToken.reveal()}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: request.signal,
    })

  /** Sets the mailbox's one watch, or puts its end off. No label filter: filtered watches still report unrelated changes and miss moves. */
  async function watch(request: { accessToken: Secret; signal: AbortSignal }): Promise<SubscriptionOutcome> {
    const outcome = await post(request, `${mailbox}/watch`, { topicName: settings.topic })
    if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
    return judgeWatch(host, outcome.answer)
  }

  async function openChannel(request: SubscriptionRequest): Promise<SubscriptionOutcome> {
    const watched = watchedResource(request.resource)
    if (watched === undefined)
      return { kind: 'failed', failure: { class: 'our_configuration', code: 'unknown_resource' } }
    let url = `${settings.apiUrl}/${request.resource}/watch`
    if (watched.api === 'drive') {
      const start = await checks.check({ ...request, cursor: undefined })
      if (start.kind === 'failed') return start
      const [path, query] = request.resource.split('?')
      url = `${settings.apiUrl}/${path}/watch?pageToken=${encodeURIComponent(start.cursor)}&supportsAllDrives=true&includeItemsFromAllDrives=true${query === undefined ? '' : `&${query}`}`
    }
    const outcome = await post(request, url, {
      // good once and never again, even after its end
      id: randomUUID(),
      type: 'web_hook',
      address: request.notificationUrl,
      token: request.channelSecret.reveal(),
      expiration: host.now().getTime() + watched.longestMs,
    })
    if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
    return judgeChannel(host, outcome.answer, watched.longestMs)
  }

  return {
    endsWithGrant: true,
    // a watch belongs to mailbox and project
    sharedByAccount: (resource) => resource === GMAIL,
    wanted: (grantedScopes) => wantedOf(settings, grantedScopes),
    create: (request) => (request.resource === GMAIL ? watch(request) : openChannel(request)),
    // recommended once a day (protocols/google.md §3)
    renewWithinMs: (resource) => (resource === GMAIL ? DAY_MS : undefined),
    isReplaced: (resource) => resource !== GMAIL,
    async renew(request) {
      const outcome = await watch(request)
      return outcome.kind === 'created' ? { kind: 'renewed', expiresAt: outcome.expiresAt } : outcome
    },
    pushDelayMs: (resource) => watchedResource(resource)?.pushDelayMs ?? DAY_MS,
    check: checks.check,
    discover: checks.discover,

    async stop(request) {
      const { resource, providerSubscriptionId } = request
      const [id, resourceId] = providerSubscriptionId.split('/')
      const api = resource.startsWith(DRIVE_CHANGES) ? 'drive' : 'calendar'
      const outcome =
        resource === GMAIL
          ? await post(request, `${mailbox}/stop`)
          : await post(request, `${settings.apiUrl}/${api}/v3/channels/stop`, { id, resourceId })
      if (outcome.kind === 'failed') return { kind: 'failed', failure: transportFailure(outcome.code) }
      const { status } = outcome.answer
      if (status === 404 || (status >= 200 && status < 300)) return { kind: 'stopped' }
      return { kind: 'failed', failure: classifyApiError(outcome.answer, host.now()) }
    },
  }
}

/** `historyId` is a 64-bit number in text, `expiration` milliseconds in text. */
function judgeWatch(host: Host, answer: HttpAnswer): SubscriptionOutcome {
  if (answer.status !== 200) return { kind: 'failed', failure: classifyApiError(answer, host.now()) }
  const body = jsonOf(answer)
  const cursor = textMember(body, 'historyId') ?? ''
  if (!/^\d{1,20}$/.test(cursor)) return { kind: 'failed', failure: transportFailure('bad_watch_answer') }
  const expiresAt = expiryOf(host, body, 7 * DAY_MS)
  if (expiresAt === undefined) return { kind: 'failed', failure: transportFailure('absurd_expiry') }
  return { kind: 'created', providerSubscriptionId: WATCH_ID, expiresAt, cursor }
}

const PART = /^[\w.~+=-]{1,200}$/

/** `expiration` is a number by the guide and a text by the reference. */
function judgeChannel(host: Host, answer: HttpAnswer, longestMs: number): SubscriptionOutcome {
  if (answer.status !== 200) return { kind: 'failed', failure: classifyApiError(answer, host.now()) }
  const body = jsonOf(answer)
  const id = textMember(body, 'id') ?? ''
  const resourceId = textMember(body, 'resourceId') ?? ''
  if (!PART.test(id) || !PART.test(resourceId))
    return { kind: 'failed', failure: transportFailure('bad_channel_answer') }
  const expiresAt = expiryOf(host, body, longestMs)
  if (expiresAt === undefined) return { kind: 'failed', failure: transportFailure('absurd_expiry') }
  return { kind: 'created', providerSubscriptionId: `${id}/${resourceId}`, expiresAt }
}

/** @returns undefined below ten minutes or beyond the longest life and a day: it would never be renewed in time. */
function expiryOf(host: Host, body: Json | undefined, longestMs: number): Date | undefined {
  const given = member(body, 'expiration')
  const text = typeof given === 'number' ? String(given) : given
  const at = typeof text === 'string' && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  const left = at - host.now().getTime()
  return left >= SHORTEST_MS && left <= longestMs + DAY_MS ? new Date(at) : undefined
}
