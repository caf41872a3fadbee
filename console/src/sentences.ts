/**
 * Codes → sentences for people: what happened and what to do. Fixed tables; an unknown code gets the general sentence
 * and is never shown itself when it came from an address.
 */
import type { AtProvider, ConnectionStatus, DeliveryView, ScopeView } from '@flovify/client/wire'

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
    text: 'Your account may not approve these permissions itself. Get a link below, send it to an administrator, and connect again when it has been used.',
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
  if (failure.reason === 'account_mismatch') {
    return {
      title: 'That was another account',
      text: 'You connected an account again, but chose a different one at the provider. Nothing was changed. To add the other account, use Connect; to repair this one, choose the same account.',
    }
  }
  if (failure.reason === 'connection_gone') {
    return {
      title: 'This connection is gone',
      text: 'It was deleted while you were at the provider. Nothing was stored. Connect the account anew.',
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
    text: 'The provider no longer accepts our access: connect the account again.',
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

/** `status_reason`: fixed words of the Auth service, or the provider's own code. */
const STATUS_REASONS: Readonly<Record<string, string>> = {
  disconnected: 'You disconnected it here.',
  user_erased: 'The data of its user is being deleted.',
  tokens_revoked: 'The access was withdrawn at the provider.',
  account_disabled: 'The provider has disabled the account.',
  account_hijacked: 'The provider has locked the account because somebody else may be using it.',
  no_refresh_token: 'The provider gave access for a short time only.',
  scopes_missing: '',
  vault_error: '',
  invalid_grant: 'The access was withdrawn, or ran out because it was not used.',
  invalid_rapt: 'The organisation asks for a new sign-in.',
  consent_required: 'The consent was withdrawn or has to be given anew.',
  interaction_required: 'The provider wants the person to sign in.',
}

/** @returns a sentence, `''` where the state says it all; undefined for a code that somebody has to look up */
export function explainStatusReason(reason: string | null): string | undefined {
  if (reason === null) return ''
  return Object.hasOwn(STATUS_REASONS, reason) ? STATUS_REASONS[reason] : undefined
}

export function explainRestriction(restriction: ScopeView['restriction']): string | undefined {
  switch (restriction) {
    case 'admin_consent':
      return '(an administrator of your organisation must agree)'
    case 'restricted':
    case 'sensitive':
      return '(the provider checks who may ask for this)'
    case null:
      return undefined
  }
}

/** What a disconnect does at the provider. */
export function explainAtProvider(kind: AtProvider['kind'], provider: string): string {
  switch (kind) {
    case 'revoked_by_us':
      return `The consent is withdrawn at ${provider} too.`
    case 'shared_with_other_connection':
      return `The consent at ${provider} stays, because another connection here uses the same account.`
    case 'withdraw_yourself':
      return `The consent given at ${provider} can only be withdrawn by you, there:`
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
  'subscription.v1.renewed': 'Notifications prolonged',
  'subscription.v1.renewal_failed': 'Notifications could not be prolonged',
  'subscription.v1.expiring': 'Notifications are about to end',
  'subscription.v1.expired': 'Notifications ended',
  'subscription.v1.removed': 'Notifications stopped by the provider',
  'subscription.v1.missed': 'Provider missed notifications',
}

/** A name for people; the prefix is the operator's, so only the end counts. Unknown: the type itself. */
export function nameEvent(type: string): string {
  const known = Object.entries(EVENT_NAMES).find(([key]) => type === key || type.endsWith(`.${key}`))
  return known === undefined ? type : known[1]
}
