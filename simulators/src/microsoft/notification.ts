/**
 * Graph change notifications: bodies as in protocols/microsoft.md §2.3 and §2.5, sent with 3 s for the first
 * attempt and 10 s for the repeats. Never with a signature header: Graph has none.
 */
import { randomUUID } from 'node:crypto'
import type { Mail } from '../accounts.ts'
import type { FirstAttempt, Parcel } from '../postman.ts'
import { etagOf } from './mail.ts'
import { graphTime, type Subscription } from './subscription.ts'
import { liveSubscriptions } from './subscriptions.ts'
import { findMicrosoftAccount, type MicrosoftWorld } from './world.ts'

export const microsoftForgeries = ['clientState', 'noClientState', 'unknownSubscription', 'tenant'] as const
export type MicrosoftForgery = (typeof microsoftForgeries)[number]

export const lifecycleEvents = ['reauthorizationRequired', 'subscriptionRemoved', 'missed'] as const
export type LifecycleEvent = (typeof lifecycleEvents)[number]

/** One parcel per notification URL; subscriptions that share one are batched into one `value`. */
export function mailParcels(
  world: MicrosoftWorld,
  account: string,
  mail: Mail,
  changeType: 'created' | 'updated',
  forge: MicrosoftForgery | null,
): Parcel[] {
  const interested = liveSubscriptions(world).filter(
    (subscription) =>
      subscription.account === account &&
      subscription.class === 'message' &&
      subscription.changeType.split(',').includes(changeType),
  )
  const byUrl = new Map<string, unknown[]>()
  for (const subscription of interested) {
    const items = byUrl.get(subscription.notificationUrl) ?? []
    items.push(changeItem(subscription, mail, changeType, forge))
    byUrl.set(subscription.notificationUrl, items)
  }
  return [...byUrl].map(([url, value]) => graphParcel(url, JSON.stringify({ value }), forge === null))
}

export function lifecycleParcels(world: MicrosoftWorld, account: string, event: LifecycleEvent): Parcel[] {
  return liveSubscriptions(world).flatMap((subscription) => {
    const url = subscription.lifecycleNotificationUrl
    if (subscription.account !== account || url === null) return []
    const item = { ...commonItem(subscription), lifecycleEvent: event }
    if (event === 'subscriptionRemoved') world.subscriptions.delete(subscription.id)
    return [graphParcel(url, JSON.stringify({ value: [item] }), true)]
  })
}

export function graphParcel(url: string, body: string, repeat: boolean): Parcel {
  return {
    url,
    body,
    headers: async () => ({ 'content-type': 'application/json' }),
    timeoutMs: (attempt) => (attempt === 1 ? 3_000 : 10_000),
    acknowledges: (status) => status >= 200 && status < 300,
    repeats: () => repeat,
  }
}

/** A body of the caller's own making, once, as Graph would send it. */
export function sendRaw(world: MicrosoftWorld, url: string, body: string): Promise<FirstAttempt> {
  return world.postman.deliver(graphParcel(url, body, false))
}

function changeItem(
  subscription: Subscription,
  mail: Mail,
  changeType: string,
  forge: MicrosoftForgery | null,
): Record<string, unknown> {
  const account = findMicrosoftAccount(subscription.account)
  const owner = `${account?.oid}@${account?.tid}`
  const item: Record<string, unknown> = {
    ...commonItem(subscription),
    changeType,
    resource: `users/${owner}/messages/${mail.id}`,
    resourceData: {
      '@odata.type': '#Microsoft.Graph.Message',
      '@odata.id': `Users/${owner}/Messages/${mail.id}`,
      '@odata.etag': etagOf(mail),
      id: mail.id,
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
