/**
 * Graph change notifications: bodies as in protocols/microsoft.md §2.3 and §2.5, sent with 3 s for the first
 * attempt and 10 s for the repeats. Never with a signature header: Graph has none.
 */
import { randomUUID } from 'node:crypto'
import type { Mail } from '../accounts.ts'
import type { FirstAttempt, Parcel } from '../postman.ts'
import { isPaused } from './delivery.ts'
import { contentForgeries, encryptedContent } from './encryption.ts'
import { etagOf, presentMail } from './mail.ts'
import { graphTime, type ResourceClass, type Subscription } from './subscription.ts'
import { liveSubscriptions } from './subscriptions.ts'
import { tokenForgeries, validationTokens } from './validation-token.ts'
import { findMicrosoftAccount, type MicrosoftWorld } from './world.ts'

const itemForgeries = ['clientState', 'noClientState', 'unknownSubscription', 'tenant'] as const
export const microsoftForgeries = [...itemForgeries, ...contentForgeries, ...tokenForgeries] as const
export type MicrosoftForgery = (typeof microsoftForgeries)[number]

export const lifecycleEvents = ['reauthorizationRequired', 'subscriptionRemoved', 'missed'] as const
export type LifecycleEvent = (typeof lifecycleEvents)[number]

/** What Graph tells of a changed thing; a drive tells no item (protocols/microsoft.md §2.3). */
export interface GraphChange {
  class: ResourceClass
  changeType: 'created' | 'updated' | 'deleted'
  id: string
  etag: string
  /** As a GET would answer it, for subscriptions with resource data; `null` once it is gone. */
  resource: Record<string, unknown> | null
}

export function mailParcels(
  world: MicrosoftWorld,
  account: string,
  mail: Mail,
  changeType: 'created' | 'updated',
  forge: MicrosoftForgery | null,
): Promise<Parcel[]> {
  const resource = presentMail(mail, account)
  const change: GraphChange = { class: 'message', changeType, id: mail.id, etag: etagOf(mail), resource }
  return changeParcels(world, account, change, forge)
}

/** One parcel per notification URL; subscriptions that share one are batched into one `value`. */
export async function changeParcels(
  world: MicrosoftWorld,
  account: string,
  change: GraphChange,
  forge: MicrosoftForgery | null,
): Promise<Parcel[]> {
  const interested = liveSubscriptions(world).filter(
    (subscription) =>
      subscription.account === account &&
      subscription.class === change.class &&
      !world.muted.has(subscription.id) &&
      subscription.changeType.split(',').includes(change.changeType),
  )
  const tokenForge = tokenForgeries.find((name) => name === forge) ?? null
  const collection = async (of: readonly Subscription[]) => ({
    value: of.map((subscription) => changeNotice(world, subscription, change, forge)),
    ...(await validationTokens(world, tenantsWithContent(of), tokenForge)),
  })
  const byUrl = new Map<string, Subscription[]>()
  for (const subscription of interested) {
    const { notificationUrl: url } = subscription
    if (isPaused(world, subscription)) {
      const parcel = graphParcel(world, url, await collection([subscription]), forge === null)
      world.held.push({ subscriptionIds: [subscription.id], parcel, heldAt: world.now() })
      continue
    }
    byUrl.set(url, [...(byUrl.get(url) ?? []), subscription])
  }
  return Promise.all(
    [...byUrl].map(async ([url, of]) => graphParcel(world, url, await collection(of), forge === null)),
  )
}

function tenantsWithContent(subscriptions: readonly Subscription[]): string[] {
  return subscriptions.flatMap(({ account, encryption }) =>
    encryption === null ? [] : [findMicrosoftAccount(account)?.tid ?? ''],
  )
}

/** `subscriptionRemoved` and `missed` exist for Outlook only; the first ends the subscription (§2.5). @param id of one only */
export async function lifecycleParcels(
  world: MicrosoftWorld,
  account: string,
  event: LifecycleEvent,
  id?: string,
): Promise<Parcel[]> {
  const parcels: Parcel[] = []
  for (const subscription of liveSubscriptions(world)) {
    const url = subscription.lifecycleNotificationUrl
    if (subscription.account !== account || (id !== undefined && subscription.id !== id)) continue
    if (event !== 'reauthorizationRequired' && subscription.class === 'drive') continue
    const common = commonItem(world, subscription)
    // as captured: members without a value, and a token beside what carries no content
    const item =
      world.faults.itemsAs === 'seen'
        ? { ...common, lifecycleEvent: event, resource: '', sequence: null, encryptedContent: null }
        : { ...common, lifecycleEvent: event }
    if (event === 'subscriptionRemoved') world.subscriptions.delete(subscription.id)
    if (url === null) continue
    const tokens = await validationTokens(world, tenantsWithContent([subscription]), null)
    parcels.push(graphParcel(world, url, { value: [item], ...tokens }, true))
  }
  return parcels
}

/** @param body what is sent as JSON; a text goes out as it is */
export function graphParcel(world: MicrosoftWorld, url: string, body: unknown, repeat: boolean): Parcel {
  const [first, repeated] = world.faults.pushTimeoutsMs ?? [3_000, 10_000]
  return {
    url,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: async () => ({ 'content-type': 'application/json' }),
    timeoutMs: (attempt) => (attempt === 1 ? first : repeated),
    acknowledges: (status) => status >= 200 && status < 300,
    repeats: () => repeat,
    attempted(attempt, status, latencyMs) {
      // A connection that is refused at once is a failure, but not a slow answer.
      const late = status === null && latencyMs >= (attempt === 1 ? first : repeated) - 5
      world.endpoints.note(url, attempt, late)
    },
  }
}

/** A body of the caller's own making, once, as Graph would send it. */
export function sendRaw(world: MicrosoftWorld, url: string, body: string): Promise<FirstAttempt> {
  return world.postman.deliver(graphParcel(world, url, body, false))
}

const shapes: Record<ResourceClass, { path: string; type: string }> = {
  message: { path: 'Messages', type: '#Microsoft.Graph.Message' },
  event: { path: 'Events', type: '#Microsoft.Graph.Event' },
  contact: { path: 'Contacts', type: '#Microsoft.Graph.Contact' },
  drive: { path: '', type: '#Microsoft.Graph.DriveItem' },
}

function changeNotice(
  world: MicrosoftWorld,
  subscription: Subscription,
  change: GraphChange,
  forge: MicrosoftForgery | null,
): Record<string, unknown> {
  const account = findMicrosoftAccount(subscription.account)
  const owner = `${account?.oid}@${account?.tid}`
  const { path, type } = shapes[change.class]
  const item: Record<string, unknown> = {
    ...commonItem(world, subscription),
    ...(world.faults.itemsAs === 'seen'
      ? { id: `lsg${Buffer.from(change.etag).toString('hex').slice(-24)}`, sequence: null }
      : {}),
    changeType: change.changeType,
    resource:
      change.class === 'drive'
        ? subscription.resource.replace(/^\//, '')
        : `users/${owner}/${path.toLowerCase()}/${change.id}`,
    resourceData:
      change.class === 'drive'
        ? { '@odata.type': type }
        : {
            '@odata.type': type,
            '@odata.id': `Users/${owner}/${path}/${change.id}`,
            '@odata.etag': change.etag,
            id: change.id,
          },
  }
  if (subscription.encryption !== null && change.resource !== null) {
    const name = world.faults.itemsAs === 'seen' ? 'EncryptedContent' : 'encryptedContent'
    const contentForge = contentForgeries.find((one) => one === forge) ?? null
    item[name] = encryptedContent(subscription.encryption, subscription.select, change.resource, contentForge)
  }
  if (forge === 'clientState') item.clientState = `forged-${randomUUID()}`
  if (forge === 'noClientState') delete item.clientState
  if (forge === 'unknownSubscription') item.subscriptionId = randomUUID()
  if (forge === 'tenant') item.tenantId = randomUUID()
  return item
}

/** A subscription made without `clientState` has none in its notifications. */
function commonItem(world: MicrosoftWorld, subscription: Subscription): Record<string, unknown> {
  const seen = world.faults.itemsAs === 'seen'
  const tenant = findMicrosoftAccount(subscription.account)?.tid
  return {
    subscriptionId: subscription.id,
    subscriptionExpirationDateTime: seen
      ? offsetTime(subscription.expiresAt)
      : graphTime(subscription.expiresAt),
    ...(subscription.clientState === null ? {} : { clientState: subscription.clientState }),
    ...(seen ? { organizationId: tenant } : { tenantId: tenant }),
  }
}

/** As Outlook's example writes it: another zone than UTC. */
function offsetTime(at: number): string {
  return graphTime(at + 330 * 60_000).replace('Z', '+05:30')
}
