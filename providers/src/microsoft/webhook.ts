/**
 * Judges what arrives in Microsoft's name, in this order: the relay form (a header of our own making, its secret
 * alone decides), the validation handshake, Graph's change and lifecycle notifications. Graph signs nothing
 * (protocols/microsoft.md §5): an item is proven by the authenticated `ref` in the URL and its own `clientState`. One that
 * carries its resource, encrypted, needs a signed token of its tenant besides, and its content the right HMAC.
 * The clientState never enters a fact. Whatever is not proven is rejected.
 */
import type {
  Fact,
  Host,
  Json,
  JsonObject,
  KnownSubscription,
  Lookup,
  NotificationRequest,
  ProviderWebhook,
  Verdict,
} from '../provider.ts'
import { judgeHandshake } from '../webhook/handshake.ts'
import { queryValues, singleHeader } from '../webhook/headers.ts'
import { sha256Hex } from '../webhook/hmac.ts'
import { isArray, isObject, member, readHostileJson, textMember } from '../webhook/hostile-json.ts'
import { verdictOfItems } from '../webhook/items.ts'
import { judgeRelay } from '../webhook/relay.ts'
import { contentOfItem, type ItemContent } from './resource-data/content-of-item.ts'
import { type Vouchers, validationTokens } from './resource-data/validation-tokens.ts'
import { watchedResource } from './resources.ts'
import type { MicrosoftSettings } from './settings.ts'

const ITEM_LIMIT = 1000

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

export function microsoftWebhook(settings: MicrosoftSettings, host: Host): ProviderWebhook {
  const vouchersOf = validationTokens(settings, host)
  return {
    methods: ['POST'],
    bodyLimitBytes: 1024 * 1024,
    async judge(request, lookup) {
      if (request.method !== 'POST') return rejected(405, 'bad_method')
      const signature = singleHeader(request, 'x-ms-signature')
      if (signature.kind !== 'absent')
        return judgeRelay([settings.webhookSecret, settings.earlierWebhookSecret], request, signature)
      const tokens = queryValues(request, 'validationToken')
      if (tokens.length > 0) return judgeHandshake(request, lookup, tokens)
      if (request.ref === undefined) return rejected(401, 'no_signature')
      const refSubscriptionId = lookup.genuineRef(request.ref)
      if (refSubscriptionId === undefined) return rejected(404, 'bad_ref')
      return judgeNotification(request, lookup, refSubscriptionId, vouchersOf)
    },
  }
}

function rejected(status: number, reason: string): Verdict {
  return { kind: 'rejected', status, reason }
}

async function judgeNotification(
  request: NotificationRequest,
  lookup: Lookup,
  refSubscriptionId: string,
  vouchersOf: (tokens: Json | undefined) => Vouchers,
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
  const proofs: Proofs = {
    lookup,
    ownerOf,
    refSubscriptionId,
    vouchers: vouchersOf(member(reading.value, 'validationTokens')),
  }
  const outcomes = await Promise.all(items.map((item) => judgeItem(item, proofs)))
  const facts: Fact[] = []
  const reasons: string[] = []
  for (const outcome of outcomes) {
    // repeated as a whole: what is stored twice is one event
    if (outcome.kind === 'unavailable') return outcome
    if (outcome.kind === 'fact') facts.push(outcome.fact)
    else reasons.push(outcome.reason)
  }
  // 202 also when nothing was genuine: Graph would repeat it for hours, and an enemy learns nothing [RD26].
  return verdictOfItems(202, facts, reasons)
}

/** What an item is held against. */
interface Proofs {
  readonly lookup: Lookup
  readonly ownerOf: (clientState: string) => Promise<KnownSubscription | undefined>
  readonly refSubscriptionId: string
  readonly vouchers: Vouchers
}

type ItemVerdict =
  | { readonly kind: 'fact'; readonly fact: Fact }
  /** Not genuine, or not understood. */
  | { readonly kind: 'refused'; readonly reason: string }
  | Extract<Verdict, { readonly kind: 'unavailable' }>

async function judgeItem(item: Json, proofs: Proofs): Promise<ItemVerdict> {
  const { lookup, ownerOf, refSubscriptionId, vouchers } = proofs
  const refused = (reason: string): ItemVerdict => ({ kind: 'refused', reason })
  if (!isObject(item)) return refused('bad_item')
  const clientState = textMember(item, 'clientState')
  if (clientState === undefined || clientState.length > 255) return refused('bad_client_state')
  const owner = await ownerOf(clientState)
  // over here, and still sent by Graph until it is stopped there
  if (owner === undefined)
    return refused(lookup.genuineChannelSecret(clientState) ? 'unknown_subscription' : 'bad_client_state')
  const subscriptionId = textMember(item, 'subscriptionId') ?? ''
  const known = owner.providerSubscriptionId
  // Before the answer to our create call is stored, the URL itself says which subscription this is.
  const isOurs = known === undefined ? owner.id === refSubscriptionId : sameId(known, subscriptionId)
  if (!isOurs || subscriptionId === '') return refused('wrong_subscription')
  if (!isOfTenant(item, owner.tenant)) return refused('wrong_tenant')
  const content = await contentOfItem(item, owner, vouchers, lookup)
  if (content.kind === 'refused' || content.kind === 'unavailable') return content
  const fact =
    (item.lifecycleEvent ?? null) === null
      ? changeFact(item, owner, subscriptionId, content)
      : lifecycleFact(item, owner)
  return typeof fact === 'string' ? refused(fact) : { kind: 'fact', fact }
}

function lifecycleFact(item: JsonObject, owner: KnownSubscription): Fact | string {
  const name = textMember(item, 'lifecycleEvent') ?? ''
  const type = Object.hasOwn(LIFECYCLES, name) ? LIFECYCLES[name] : undefined
  if (type === undefined) return 'unknown_lifecycle'
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

function changeFact(
  item: JsonObject,
  owner: KnownSubscription,
  subscriptionId: string,
  opened: ItemContent,
): Fact | string {
  const watched = watchedResource(owner.resource)
  if (watched === undefined) return 'unknown_resource'
  // it is proven: a change or a type that Graph may have tomorrow is told as it is, or it would be lost
  const change = textMember(item, 'changeType') ?? ''
  const happened = Object.hasOwn(CHANGES, change) ? CHANGES[change] : 'Changed'
  const resource = member(item, 'resourceData')
  const content = opened.kind === 'opened' ? opened.resource : undefined
  const unreadable = opened.kind === 'unreadable' ? opened.reason : undefined
  const odataType = textMember(resource, '@odata.type')
  const isOther = odataType !== undefined && odataType.toLowerCase() !== watched.odataType
  // a drive says only that something below its root changed; another thing's id is no id of these
  const id =
    watched.kind === 'drive' || isOther
      ? undefined
      : (textMember(resource, 'id') ??
        lastSegment(textMember(resource, '@odata.id') ?? textMember(item, 'resource')) ??
        textMember(content, 'id'))
  const etag = textMember(resource, '@odata.etag') ?? textMember(content, '@odata.etag')
  return {
    connectionId: owner.connectionId,
    subscriptionId: owner.id,
    type: watched.notifiedType,
    originType: `Microsoft.Graph.${watched.origin}${happened}`,
    subject: id !== undefined && SUBJECT_ID.test(id) ? `${watched.subject}/${id}` : undefined,
    identity: identityOf(textMember(item, 'id'), [subscriptionId.toLowerCase(), change, id, etag]),
    time: undefined,
    ...(unreadable === undefined ? {} : { unreadable }),
    data: {
      ...pick(item, ['changeType', 'subscriptionId', 'resource', 'tenantId', 'organizationId']),
      ...(id === undefined ? {} : { resourceId: id }),
      ...(isOther ? { resourceType: odataType } : {}),
      ...(etag === undefined ? {} : { etag }),
      ...(content === undefined ? {} : { resourceData: content }),
      ...(unreadable === undefined ? {} : { resourceDataMissing: unreadable }),
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
