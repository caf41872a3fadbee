/** Where a subscription's notifications go: a URL that carries our own id of it, authenticated. */
import { isId } from '../platform/ids.ts'
import type { ChannelKeys } from '../vault/channel-keys.ts'

export interface AddressNeeds {
  readonly channelKeys: Pick<ChannelKeys, 'mintRef' | 'genuineRef'>
  /** Public origin of the notifications, without a slash at the end. */
  readonly webhookOrigin: string
}

export function notificationUrl(
  needs: AddressNeeds,
  subscription: { readonly id: string; readonly provider: string },
): string {
  if (!isId('sub', subscription.id))
    throw Object.assign(new Error('a subscription has an id that we did not make'), {
      code: 'bad_id',
      safe: true,
    })
  return `${needs.webhookOrigin}/webhook/events/${subscription.provider}/${needs.channelKeys.mintRef(subscription.id)}`
}

/** @returns our id of the subscription whose notifications go there; undefined for an address that is not ours */
export function subscriptionAt(needs: AddressNeeds, url: string): string | undefined {
  const ref = url.startsWith(`${needs.webhookOrigin}/`) ? url.split('?')[0]?.split('/').at(-1) : undefined
  return ref === undefined ? undefined : needs.channelKeys.genuineRef(ref)
}
