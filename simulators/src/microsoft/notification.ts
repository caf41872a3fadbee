/**
 * Graph change notifications: bodies as in protocols/microsoft.md §2.3 and §2.5, sent with 3 s for the first
 * attempt and 10 s for the repeats. Never with a signature header: Graph has none.
 */
import { randomUUID } from 'node:crypto'
import type { Mail } from '../accounts.ts'
import type { FirstAttempt, Parcel } from '../postman.ts'
import { isPaused } from './delivery.ts'
import { etagOf } from './mail.ts'
import { graphTime, type ResourceClass, type Subscription } from './subscription.ts'
import { liveSubscriptions } from './subscriptions.ts'
import { findMicrosoftAccount, type MicrosoftWorld } from './world.ts'

export const microsoftForgeries = ['clientState', 'noClientState', 'unknownSubscription', 'tenant'] as const
export type MicrosoftForgery = (typeof microsoftForgeries)[number]

export const lifecycleEvents = ['reauthorizationRequired', 'subscriptionRemoved', 'missed'] as const
export type LifecycleEvent = (typeof lifecycleEvents)[number]

/** What Graph tells of a changed thing; a drive tells no item (protocols/microsoft.md §2.3). */
export interface GraphChange {
  class: ResourceClass
  changeType: 'created' | 'updated' | 'deleted'
  id: string
  etag: string
}

export function mailParcels(
  world: MicrosoftWorld,
  account: string,
  mail: Mail,
  changeType: 'created' | 'updated',
  forge: MicrosoftForgery | null,
): Parcel[] {
  const change: GraphChange = { class: 'message', changeType, id: mail.id, etag: etagOf(mail) }
  return changeParcels(world, account, change, forge)
}

/** One parcel per notification URL; subscriptions that share one are batched into one `value`. */
export function changeParcels(
  world: MicrosoftWorld,
  account: string,
  change: GraphChange,
  forge: MicrosoftForgery | null,
): Parcel[] {
  const interested = liveSubscriptions(world).filter(
    (subscription) =>
      subscription.account === account &&
      subscription.class === change.class &&
      subscription.changeType.split(',').includes(change.changeType),
  )
  const byUrl = new Map<string, unknown[]>()
  for (const subscription of interested) {
    const notice = changeNotice(subscription, change, forge)
    if (isPaused(world, subscription)) {
      const parcel = graphParcel(world, subscription.notificationUrl, { value: [notice] }, forge === null)
      world.held.push({ subscriptionIds: [subscription.id], parcel, heldAt: world.now() })
      continue
    }
    const items = byUrl.get(subscription.notificationUrl) ?? []
    items.push(notice)
    byUrl.set(subscription.notificationUrl, items)
  }
  return [...byUrl].map(([url, value]) => graphParcel(world, url, { value }, forge === null))
}

/** `subscriptionRemoved` and `missed` exist for Outlook only; the first ends the subscription (§2.5). */
export function lifecycleParcels(world: MicrosoftWorld, account: string, event: LifecycleEvent): Parcel[] {
  return liveSubscriptions(world).flatMap((subscription) => {
    const url = subscription.lifecycleNotificationUrl
    if (subscription.account !== account) return []
    if (event !== 'reauthorizationRequired' && subscription.class === 'drive') return []
    const item = { ...commonItem(subscription), lifecycleEvent: event }
    if (event === 'subscriptionRemoved') world.subscriptions.delete(subscription.id)
    return url === null ? [] : [graphParcel(world, url, { value: [item] }, true)]
  })
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
  subscription: Subscription,
  change: GraphChange,
  forge: MicrosoftForgery | null,
): Record<string, unknown> {
  const account = findMicrosoftAccount(subscription.account)
  const owner = `${account?.oid}@${account?.tid}`
  const { path, type } = shapes[change.class]
  const item: Record<string, unknown> = {
    ...commonItem(subscription),
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
  if (forge === 'clientState') item.clientState = `forged-${randomUUID()}`
  if (forge === 'noClientState') delete item.clientState
  if (forge === 'unknownSubscription') item.subscriptionId = randomUUID()
  if (forge === 'tenant') item.tenantId = randomUUID()
  return item
}

/** A subscription made without `clientState` has none in its notifications. */
function commonItem(subscription: Subscription): Record<string, unknown> {
  return {
    subscriptionId: subscription.id,
    subscriptionExpirationDateTime: graphTime(subscription.expiresAt),
    ...(subscription.clientState === null ? {} : { clientState: subscription.clientState }),
    tenantId: findMicrosoftAccount(subscription.account)?.tid,
  }
}
