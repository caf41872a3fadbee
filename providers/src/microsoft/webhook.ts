/**
 * Judges what arrives in Microsoft's name, in this order: the relay form (a header of our own making, its secret
 * alone decides), the validation handshake, Graph's change and lifecycle notifications. Graph signs nothing
 * (protocols/microsoft.md §5): an item is proven by the authenticated `ref` in the URL and its own `clientState`.
 * The clientState never enters a fact. Whatever is not proven is rejected.
 */
import type {
  Fact,
  Json,
  JsonObject,
  KnownSubscription,
  Lookup,
  NotificationRequest,
  ProviderWebhook,
  Verdict,
} from '../provider.ts'
import { queryValues, singleHeader } from '../webhook/headers.ts'
import { isHmacSha256, sha256Hex } from '../webhook/hmac.ts'
import { isArray, isObject, member, readHostileJson, textMember } from '../webhook/hostile-json.ts'
import { verdictOfItems } from '../webhook/items.ts'
import { watchedResource } from './resources.ts'
import type { MicrosoftSettings } from './settings.ts'

const ITEM_LIMIT = 1000
/** Printable ASCII without `<` and `>`: exact echo stays possible, markup does not. Graph's token is opaque [WHVAL]. */
const VALIDATION_TOKEN = /^[\x20-\x3b\x3d\x3f-\x7e]{1,2048}$/

const CHANGES: Readonly<Record<string, string>> = {
  created: 'Created',
  updated: 'Updated',
  deleted: 'Deleted',
}
const LIFECYCLES: Readonly<Record<string, string>> = {
  missed: 'subscription.v1.missed',
  subscriptionRemoved: 'subscription.v1.removed',
  reauthorizationRequired: 'subscription.v1.reauthorization_required',
}

export function microsoftWebhook(settings: MicrosoftSettings): ProviderWebhook {
  return {
    methods: ['POST'],
    bodyLimitBytes: 1024 * 1024,
    async judge(request, lookup) {
      if (request.method !== 'POST') return rejected(405, 'bad_method')
      const signature = singleHeader(request, 'x-ms-signature')
      if (signature.kind !== 'absent') return judgeRelay(settings, request, signature)
      const tokens = queryValues(request, 'validationToken')
      if (tokens.length > 0) return judgeHandshake(request, lookup, tokens)
      if (request.ref === undefined) return rejected(401, 'no_signature')
      const refSubscriptionId = lookup.genuineRef(request.ref)
      if (refSubscriptionId === undefined) return rejected(404, 'bad_ref')
      return judgeNotification(request, lookup, refSubscriptionId)
    },
  }
}

function rejected(status: number, reason: string): Verdict {
  return { kind: 'rejected', status, reason }
}

function judgeRelay(
  settings: MicrosoftSettings,
  request: NotificationRequest,
  signature: { kind: 'one'; value: string } | { kind: 'several' },
): Verdict {
  if (settings.webhookSecret === undefined) return rejected(401, 'relay_off')
  if (signature.kind === 'several') return rejected(401, 'duplicate_signature')
  const secrets = [settings.webhookSecret, settings.earlierWebhookSecret].filter((one) => one !== undefined)
  if (!secrets.some((secret) => isHmacSha256(secret, request.body, signature.value, 'hex')))
    return rejected(401, 'bad_signature')
  const reading = readHostileJson(request.body)
  const data: JsonObject =
    reading.kind === 'json'
      ? { body: reading.value, encoding: 'json' }
      : { body: request.body.toString('base64'), encoding: 'base64' }
  const fact: Fact = {
    connectionId: undefined,
    subscriptionId: undefined,
    type: 'relay.message.v1.received',
    originType: 'relay.message',
    subject: undefined,
    identity: sha256Hex(request.body),
    time: undefined,
    data,
  }
  return { kind: 'verified', status: 200, answer: '{"status":"ok"}', facts: [fact], rejected: [] }
}

/** No I/O: a handshake is answered with the database down. Only for a `ref` of ours (security.md T20, T21). */
function judgeHandshake(request: NotificationRequest, lookup: Lookup, tokens: readonly string[]): Verdict {
  if (request.ref === undefined || lookup.genuineRef(request.ref) === undefined)
    return rejected(404, 'bad_ref')
  // A form on somebody's page that posts to us would show the answer as a page.
  if (request.headers['sec-fetch-mode']?.includes('navigate')) return rejected(400, 'navigation')
  const [token, ...others] = tokens
  if (token === undefined || others.length > 0 || !VALIDATION_TOKEN.test(token))
    return rejected(400, 'bad_validation_token')
  return { kind: 'handshake', body: token }
}

async function judgeNotification(
  request: NotificationRequest,
  lookup: Lookup,
  refSubscriptionId: string,
): Promise<Verdict> {
  const reading = readHostileJson(request.body)
  if (reading.kind === 'bad') return rejected(400, reading.reason)
  const items = member(reading.value, 'value')
  if (!isArray(items)) return rejected(400, 'bad_body')
  if (items.length > ITEM_LIMIT) return rejected(400, 'too_many_items')

  const owners = new Map<string, Promise<KnownSubscription | undefined>>()
  const ownerOf = (clientState: string) => {
    const owner = owners.get(clientState) ?? lookup.byChannelSecret(clientState)
    owners.set(clientState, owner)
    return owner
  }
  const facts: Fact[] = []
  const reasons: string[] = []
  for (const item of items) {
    const outcome = await judgeItem(item, ownerOf, lookup, refSubscriptionId)
    if (typeof outcome === 'string') reasons.push(outcome)
    else facts.push(outcome)
  }
  // 202 also when nothing was genuine: Graph would repeat it for hours, and an enemy learns nothing [RD26].
  return verdictOfItems(202, facts, reasons)
}

/** @returns the fact, or the reason why the item is not genuine or not understood. */
async function judgeItem(
  item: Json,
  ownerOf: (clientState: string) => Promise<KnownSubscription | undefined>,
  lookup: Lookup,
  refSubscriptionId: string,
): Promise<Fact | string> {
  if (!isObject(item)) return 'bad_item'
  const clientState = textMember(item, 'clientState')
  if (clientState === undefined || clientState.length > 255) return 'bad_client_state'
  const owner = await ownerOf(clientState)
  // over here, and still sent by Graph until it is stopped there
  if (owner === undefined)
    return lookup.genuineChannelSecret(clientState) ? 'unknown_subscription' : 'bad_client_state'
  const subscriptionId = textMember(item, 'subscriptionId') ?? ''
  const known = owner.providerSubscriptionId
  // Before the answer to our create call is stored, the URL itself says which subscription this is.
  const isOurs = known === undefined ? owner.id === refSubscriptionId : sameId(known, subscriptionId)
  if (!isOurs || subscriptionId === '') return 'wrong_subscription'
  if (!isOfTenant(item, owner.tenant)) return 'wrong_tenant'
  if (holdsEncryptedContent(item)) return 'encrypted_unsupported'
  if (item.lifecycleEvent !== undefined && item.lifecycleEvent !== null) return lifecycleFact(item, owner)
  return changeFact(item, owner, subscriptionId)
}

function lifecycleFact(item: JsonObject, owner: KnownSubscription): Fact | string {
  const name = textMember(item, 'lifecycleEvent') ?? ''
  const type = Object.hasOwn(LIFECYCLES, name) ? LIFECYCLES[name] : undefined
  if (type === undefined || typeof item.changeType === 'string') return 'unknown_lifecycle'
  return {
    connectionId: owner.connectionId,
    subscriptionId: owner.id,
    type,
    originType: `Microsoft.Graph.${name}`,
    subject: `subscriptions/${owner.id}`,
    identity: undefined,
    time: undefined,
    data: pick(item, ['lifecycleEvent', 'subscriptionId', 'resource', 'subscriptionExpirationDateTime']),
  }
}

function changeFact(item: JsonObject, owner: KnownSubscription, subscriptionId: string): Fact | string {
  const change = textMember(item, 'changeType') ?? ''
  const happened = Object.hasOwn(CHANGES, change) ? CHANGES[change] : undefined
  if (happened === undefined) return 'unknown_change'
  const watched = watchedResource(owner.resource)
  const resource = member(item, 'resourceData')
  const odataType = textMember(resource, '@odata.type')
  if (watched === undefined || (odataType !== undefined && odataType.toLowerCase() !== watched.odataType))
    return 'unknown_resource'
  // a drive says only that something below its root changed
  const id =
    watched.kind === 'drive'
      ? undefined
      : (textMember(resource, 'id') ??
        lastSegment(textMember(resource, '@odata.id') ?? textMember(item, 'resource')))
  const etag = textMember(resource, '@odata.etag')
  return {
    connectionId: owner.connectionId,
    subscriptionId: owner.id,
    type: watched.notifiedType,
    originType: `Microsoft.Graph.${watched.origin}${happened}`,
    subject: id !== undefined && SUBJECT_ID.test(id) ? `${watched.subject}/${id}` : undefined,
    identity: identityOf(textMember(item, 'id'), [subscriptionId.toLowerCase(), change, id, etag]),
    time: undefined,
    data: {
      ...pick(item, ['changeType', 'subscriptionId', 'resource', 'tenantId', 'organizationId']),
      ...(id === undefined ? {} : { resourceId: id }),
      ...(etag === undefined ? {} : { etag }),
    },
  }
}

/** Subjects stand in text columns and headers: visible ASCII only. */
const SUBJECT_ID = /^[\x21-\x7e]{1,1024}$/

/**
 * Retries repeat the same body, but an item's own `id` is optional: then subscription, change, resource and etag
 * stand for it [protocols §2.10]. Without an etag two true updates could look alike: always new.
 */
function identityOf(
  itemId: string | undefined,
  change: readonly [string, string, string | undefined, string | undefined],
) {
  if (itemId !== undefined && itemId !== '') return sha256Hex(JSON.stringify(['item', change[0], itemId]))
  return change[2] === undefined || change[3] === undefined
    ? undefined
    : sha256Hex(JSON.stringify(['change', ...change]))
}

/** Real items carry `tenantId`, `organizationId`, both or neither; each that is there must be right. */
function isOfTenant(item: JsonObject, tenant: string | undefined): boolean {
  return [item.tenantId, item.organizationId].every((named) => {
    if (named === undefined || named === null || tenant === undefined) return true
    return typeof named === 'string' && sameId(named, tenant)
  })
}

/** Seen in both spellings: `encryptedContent` and `EncryptedContent`. */
const holdsEncryptedContent = (item: JsonObject): boolean =>
  Object.entries(item).some(([name, value]) => name.toLowerCase() === 'encryptedcontent' && value !== null)

function sameId(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

/** `Users/<u>/Messages/<id>` and `Users('<u>')/messages('<id>')`; events alike. */
function lastSegment(path: string | undefined): string | undefined {
  const found = /\/(?:messages|events)(?:\/([^/']+)|\('([^/']+)'\))$/i.exec(path ?? '')
  return found?.[1] ?? found?.[2]
}

function pick(item: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = textMember(item, name)
      return value === undefined || value === '' ? [] : [[name, value]]
    }),
  )
}
