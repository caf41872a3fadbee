/**
 * Judges what arrives in Google's name (protocols/google.md §2 to §4). Gmail comes by Pub/Sub: the bearer JWT proves the
 * push before the body is read: our audience and our service account, not the OAuth client. A genuine message that we
 * cannot use is acknowledged, or Pub/Sub would repeat it for days. Channels of Drive and Calendar come to a URL with a
 * `ref`, unsigned and empty: the token that we gave them is the proof. A security event token is judged by the kit.
 */
import type { JWTPayload } from 'jose'
import { KEY_PATIENCE_MS, type KeySet } from '../oauth/keys.ts'
import type { Fact, Host, Json, Lookup, NotificationRequest, ProviderWebhook, Verdict } from '../provider.ts'
import { type BearerJudge, bearerJudge } from '../webhook/bearer.ts'
import { singleHeader } from '../webhook/headers.ts'
import { isObject, member, readHostileJson, textMember } from '../webhook/hostile-json.ts'
import { judgeSecurityToken, securityTokenOf } from '../webhook/security-event.ts'
import { isGoogleIssuer, isVerified } from './oauth.ts'
import { GMAIL, watchedResource } from './resources.ts'
import type { GoogleSettings, PushSettings } from './settings.ts'

export function googleWebhook(settings: GoogleSettings, host: Host, keys: KeySet): ProviderWebhook {
  const { push } = settings
  const judgeBearer =
    push === undefined
      ? undefined
      : bearerJudge({
          keys,
          now: host.now,
          patienceMs: KEY_PATIENCE_MS,
          objection: (claims) => objectionTo(claims, settings, push),
        })
  const securityRule = {
    keys,
    clientId: settings.clientId,
    isIssuer: (issuer: unknown) => isGoogleIssuer(settings, issuer),
  }
  return {
    methods: ['POST'],
    bodyLimitBytes: 1024 * 1024,
    async judge(request, lookup) {
      if (request.method !== 'POST') return rejected(405, 'bad_method')
      if (request.ref !== undefined) return judgeChannel(request, request.ref, lookup)
      const securityToken = securityTokenOf(request)
      if (securityToken !== undefined) return judgeSecurityToken(securityRule, host, securityToken)
      if (push === undefined || judgeBearer === undefined) return rejected(401, 'push_off')
      return judgePush(request, lookup, push, judgeBearer)
    },
  }
}

const rejected = (status: number, reason: string): Verdict => ({ kind: 'rejected', status, reason })
/** Its proof is right. */
const unforged = (status: number, reason: string) =>
  ({ kind: 'rejected', status, reason, forged: 0 }) as const

/** Any Google service account can have a token signed for our audience: the account itself must be ours. */
function objectionTo(claims: JWTPayload, settings: GoogleSettings, push: PushSettings): string | undefined {
  if (!isGoogleIssuer(settings, claims.iss)) return 'wrong_issuer'
  if (typeof claims.aud !== 'string' || !push.audiences.includes(claims.aud)) return 'wrong_audience'
  if (typeof claims.email !== 'string' || !push.serviceAccounts.includes(claims.email))
    return 'wrong_service_account'
  return isVerified(claims.email_verified) ? undefined : 'unverified_email'
}

/** Google repeats 500, 502, 503 and 504 alone: what is not genuine is told so once (protocols/google.md §4.3). */
async function judgeChannel(request: NotificationRequest, ref: string, lookup: Lookup): Promise<Verdict> {
  const token = singleHeader(request, 'x-goog-channel-token')
  if (token.kind === 'several') return rejected(400, 'duplicate_channel_token')
  if (token.kind !== 'one' || token.value.length > 256) return rejected(401, 'bad_channel_token')
  if (!lookup.genuineChannelSecret(token.value)) return rejected(401, 'bad_channel_token')
  const subscriptionId = lookup.genuineRef(ref)
  if (subscriptionId === undefined) return rejected(404, 'bad_ref')
  const channelId = visibleHeader(request, 'x-goog-channel-id')
  const resourceId = visibleHeader(request, 'x-goog-resource-id')
  const state = visibleHeader(request, 'x-goog-resource-state')
  if (channelId === undefined || resourceId === undefined || state === undefined)
    return rejected(400, 'bad_channel_headers')
  const providerSubscriptionId = `${channelId}/${resourceId}`
  const owner = await lookup.byChannelSecret(token.value)
  // made by us, and nobody has it: its create call was answered to nobody, or it is over
  if (owner === undefined) {
    const orphan = { subscriptionId, providerSubscriptionId, idsEnd: `/${resourceId}` }
    return { ...unforged(404, 'unknown_channel'), orphan }
  }
  if (owner.id !== subscriptionId) return rejected(401, 'wrong_subscription')
  // a sync message may arrive before the answer to the watch call
  if (owner.providerSubscriptionId !== undefined && owner.providerSubscriptionId !== providerSubscriptionId)
    return rejected(401, 'wrong_channel')
  const watched = watchedResource(owner.resource)
  if (watched === undefined) return rejected(401, 'wrong_subscription')
  if (state === 'sync') return { kind: 'verified', status: 200, facts: [], rejected: [] }
  const named = visibleHeader(request, 'x-goog-message-number')
  const number = named !== undefined && /^\d{1,20}$/.test(named) ? named : undefined
  const changed = visibleHeader(request, 'x-goog-changed')
  const fact: Fact = {
    connectionId: owner.connectionId,
    subscriptionId: owner.id,
    type: watched.notifiedType,
    originType: watched.originType,
    subject: watched.subject,
    identity: number === undefined ? undefined : `channel:${channelId}:${number}`,
    time: undefined,
    // not the resource's URI: it repeats whatever the watch call had in its query
    data: {
      resource: owner.resource,
      state,
      ...(number !== undefined && { messageNumber: number }),
      ...(changed !== undefined && { changed }),
    },
  }
  return { kind: 'verified', status: 200, facts: [fact], rejected: [] }
}

/** The only value of a header, when it is short and visible. */
function visibleHeader(request: NotificationRequest, name: string): string | undefined {
  const header = singleHeader(request, name)
  return header.kind === 'one' && /^[\x20-\x7e]{1,256}$/.test(header.value) ? header.value : undefined
}

async function judgePush(
  request: NotificationRequest,
  lookup: Lookup,
  push: PushSettings,
  judgeBearer: BearerJudge,
): Promise<Verdict> {
  const bearer = await judgeBearer(request)
  if (bearer.kind === 'unavailable') return bearer
  if (bearer.kind === 'rejected') return rejected(bearer.status ?? 401, bearer.reason)
  // from here on it is Google's own: wrong settings there are no reason to bar its addresses
  const reading = readHostileJson(request.body)
  if (reading.kind === 'bad') return unforged(400, reading.reason)
  const message = member(reading.value, 'message')
  const subscription = textMember(reading.value, 'subscription')
  if (!isObject(message) || subscription === undefined) return unforged(400, 'unwrapped')
  if (!push.subscriptions.includes(subscription)) return unforged(401, 'wrong_subscription')

  const change = mailboxChangeOf(textMember(message, 'data'))
  if (change === undefined) return { kind: 'verified', status: 204, facts: [], rejected: ['bad_data'] }
  const owners = await lookup.byAddress(change.emailAddress.toLowerCase(), GMAIL)
  // a repetition would change nothing, but somebody may miss this mailbox
  if (owners.length === 0) return { kind: 'verified', status: 204, facts: [], rejected: ['unknown_mailbox'] }
  const messageId = textMember(message, 'messageId') ?? textMember(message, 'message_id')
  const time = timeOf(textMember(message, 'publishTime') ?? textMember(message, 'publish_time'))
  const facts = owners.map(
    (owner): Fact => ({
      connectionId: owner.connectionId,
      subscriptionId: owner.subscriptionId,
      type: 'mail.mailbox.v1.notified',
      originType: 'google.gmail.history',
      subject: 'mailbox',
      identity: messageId !== undefined && MESSAGE_ID.test(messageId) ? `pubsub:${messageId}` : undefined,
      time,
      data: { emailAddress: change.emailAddress, historyId: change.historyId },
    }),
  )
  return { kind: 'verified', status: 204, facts, rejected: [] }
}

const MESSAGE_ID = /^[\x21-\x7e]{1,128}$/
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/

function timeOf(text: string | undefined): Date | undefined {
  if (text === undefined || !TIMESTAMP.test(text)) return undefined
  const time = new Date(text)
  return Number.isNaN(time.getTime()) ? undefined : time
}

/** Standard or URL-safe base64, with or without padding. */
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/

function mailboxChangeOf(data: string | undefined): { emailAddress: string; historyId: string } | undefined {
  if (data === undefined || data.length > 8192 || !BASE64.test(data)) return undefined
  // Buffer reads both alphabets.
  const reading = readHostileJson(Buffer.from(data, 'base64'))
  if (reading.kind === 'bad') return undefined
  const emailAddress = textMember(reading.value, 'emailAddress')
  const historyId = exactHistoryId(reading.value, reading.text)
  if (
    emailAddress === undefined ||
    !/^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u.test(emailAddress) ||
    emailAddress.length > 320
  )
    return undefined
  return historyId === undefined ? undefined : { emailAddress, historyId }
}

/**
 * An unsigned 64-bit number, sent as text by the documentation and as a number by Google: read from the source
 * text, because a JavaScript number would round it.
 */
function exactHistoryId(value: Json, text: string): string | undefined {
  let found = textMember(value, 'historyId')
  if (typeof member(value, 'historyId') === 'number') {
    let source: string | undefined
    // The reviver sees a member before its holder, so the last `historyId` seen may be a nested one: compare holders.
    const sources = new Map<unknown, string | undefined>()
    JSON.parse(text, function (this: unknown, key, inner: unknown, context?: { readonly source?: string }) {
      if (key === 'historyId') sources.set(this, context?.source)
      if (key === '') source = sources.get(inner)
      return inner
    })
    found = source
  }
  return found !== undefined && /^\d{1,20}$/.test(found) ? found : undefined
}
