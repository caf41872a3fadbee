/**
 * Codes → sentences for people: what happened and what to do. Fixed tables; an unknown code gets the general sentence
 * and is never shown itself when it came from an address.
 */
import type { ConnectionStatus, DeliveryView, SubscriptionView } from '@flovify/client/wire'

export type Tone = 'good' | 'warn' | 'bad' | 'busy' | 'calm'

export interface Explanation {
  readonly title: string
  readonly text: string
}

const GENERAL: Explanation = {
  title: 'The account was not connected',
  text: 'Something went wrong on the way. Nothing was stored. Start again from Connections.',
}

/** `reason` of /auth/error: fixed words of the Auth service. */
const REASONS: Readonly<Record<string, Explanation>> = {
  access_denied: {
    title: 'Permission was not given',
    text: 'The consent page was cancelled or declined, so nothing was connected. Start again and choose Accept when the provider asks.',
  },
  admin_required: {
    title: 'Your organisation must approve this first',
    text: 'Your account may not approve these permissions itself. Ask your IT administrator to approve Flovify Connect, then connect again.',
  },
  temporarily_unavailable: {
    title: 'The provider is busy',
    text: 'It could not handle the request just now. Wait a minute, then connect again.',
  },
  provider_error: {
    title: 'The provider reported a problem',
    text: 'It ended the request without connecting the account. Try again; if it happens every time, tell your administrator.',
  },
}

export function explainReason(reason: string | null): Explanation {
  return reason !== null && Object.hasOwn(REASONS, reason) ? (REASONS[reason] ?? GENERAL) : GENERAL
}

/** Why finishing failed, by status and code of the answer. */
export function explainFinish(failure: {
  status: number
  error: string
  reason?: string | undefined
}): Explanation {
  if (failure.status === 401) {
    return {
      title: 'You are not signed in here',
      text: 'For your safety this connection was cancelled. Sign in, then connect the account again.',
    }
  }
  if (failure.status === 409) {
    return {
      title: 'This connection was cancelled',
      text: 'It was begun in another session, took longer than two minutes, or was already used. Nothing was stored. Start again from Connections.',
    }
  }
  if (failure.error === 'exchange_failed') {
    return {
      title: 'The provider did not complete the connection',
      text: 'It refused the last step or did not answer. Nothing was stored. Connect again; the old attempt cannot be repeated.',
    }
  }
  if (failure.status === 0 || failure.status === 503) {
    return {
      title: 'The service does not answer',
      text: 'The connection is not finished yet. Try again now: it can be completed within two minutes.',
    }
  }
  return GENERAL
}

const STATUSES: Readonly<Record<ConnectionStatus, { label: string; tone: Tone; text?: string }>> = {
  active: { label: 'Active', tone: 'good' },
  partial: {
    label: 'Some permissions missing',
    tone: 'warn',
    text: 'What was not allowed does not work. Connect again and allow everything to change that.',
  },
  reauth_required: {
    label: 'Sign-in needed',
    tone: 'bad',
    text: 'The provider no longer accepts our access. Connect the account again.',
  },
  admin_required: {
    label: 'Approval needed',
    tone: 'warn',
    text: 'An administrator of your organisation must approve Flovify Connect. Then connect again.',
  },
  revoking: { label: 'Disconnecting', tone: 'busy' },
  revoked: { label: 'Disconnected', tone: 'calm', text: 'No events arrive from this account.' },
  vault_error: {
    label: 'Locked',
    tone: 'bad',
    text: 'The stored access cannot be opened. Tell the operator of this service; connecting again also helps.',
  },
}

export function explainStatus(status: ConnectionStatus): { label: string; tone: Tone; text?: string } {
  return STATUSES[status] ?? { label: status, tone: 'calm' }
}

export function explainSubscription(state: SubscriptionView['state']): { label: string; tone: Tone } {
  switch (state) {
    case 'active':
      return { label: 'Receiving', tone: 'good' }
    case 'wanted':
      return { label: 'Being set up', tone: 'busy' }
    case 'failed':
      return { label: 'Could not be set up', tone: 'bad' }
    case 'stopped':
      return { label: 'Stopped', tone: 'calm' }
  }
}

export function explainDelivery(delivery: DeliveryView): { label: string; tone: Tone } {
  switch (delivery.state) {
    case 'delivered':
      return { label: 'Delivered', tone: 'good' }
    case 'open':
      return delivery.attempts.length > 0
        ? { label: 'Retrying', tone: 'warn' }
        : { label: 'Waiting', tone: 'busy' }
    case 'dead':
      return { label: 'Failed', tone: 'bad' }
    case 'cancelled':
      return { label: 'Cancelled', tone: 'calm' }
    case 'expired':
      return { label: 'Expired', tone: 'bad' }
  }
}

/** One label for all deliveries of an event: the worst first. */
export function explainDeliveries(deliveries: readonly DeliveryView[]): { label: string; tone: Tone } {
  const [first] = deliveries
  if (first === undefined) return { label: 'No destination', tone: 'calm' }
  const order: DeliveryView['state'][] = ['dead', 'expired', 'open', 'cancelled', 'delivered']
  const worst = deliveries.reduce((a, b) => (order.indexOf(b.state) < order.indexOf(a.state) ? b : a), first)
  const { label, tone } = explainDelivery(worst)
  if (deliveries.length === 1) return { label, tone }
  const count = deliveries.filter(({ state }) => state === worst.state).length
  return { label: `${label} ${count}/${deliveries.length}`, tone }
}

const EVENT_NAMES: Readonly<Record<string, string>> = {
  'mail.mailbox.v1.notified': 'Change in a mailbox',
  'mail.message.v1.created': 'Message arrived',
  'calendar.calendar.v1.notified': 'Change in a calendar',
  'files.drive.v1.notified': 'Change in files',
  'relay.message.v1.received': 'Message from a relay',
  'connection.v1.created': 'Account connected',
  'connection.v1.reauthorized': 'Account connected again',
  'connection.v1.scopes_changed': 'Permissions changed',
  'connection.v1.reauth_required': 'Sign-in needed',
  'connection.v1.revoked': 'Account disconnected',
  'connection.v1.deleted': 'Connection deleted',
  'subscription.v1.created': 'Notifications set up',
  'subscription.v1.removed': 'Notifications stopped by the provider',
  'subscription.v1.missed': 'Provider missed notifications',
}

/** A name for people; the prefix is the operator's, so only the end counts. Unknown: the type itself. */
export function nameEvent(type: string): string {
  const known = Object.entries(EVENT_NAMES).find(([key]) => type === key || type.endsWith(`.${key}`))
  return known === undefined ? type : known[1]
}
