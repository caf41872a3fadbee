/** What is said of a subscription: its name, its state, what stands in its way, and its gaps. Fixed tables. */
import type { SubscriptionGap, SubscriptionView } from '@flovify/client/wire'
import type { Tone } from './sentences.ts'

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

const KIND_NAMES: Readonly<Record<string, string>> = { mail: 'Mail', calendar: 'Calendar', drive: 'Files' }

/** `calendar:team@example.com` is one of those that were found by asking. */
export function nameOfKind(kind: string): string {
  const [origin = '', ...rest] = kind.split(':')
  const name = Object.hasOwn(KIND_NAMES, origin) ? (KIND_NAMES[origin] ?? origin) : origin
  return rest.length === 0 ? name : `${name}: ${rest.join(':')}`
}

const SUBSCRIPTION_FAILURES: Readonly<Record<string, string>> = {
  already_subscribed: 'another connection of the same account has it; when that one ends, this one begins.',
  validation_failed: 'the provider does not reach our address for notifications.',
  validation_timed_out: 'our address for notifications answered the provider too late.',
  topic_not_found: 'the topic that the provider publishes to does not exist.',
  topic_forbidden: 'the provider may not publish to the topic.',
  token_expired: 'the access could not be refreshed just now.',
  timeout: 'the provider did not answer in time.',
  network: 'the provider could not be reached.',
  provider_off: 'this provider is switched off.',
  poison: 'the attempt ended our process again and again.',
}

/** @returns undefined for a code that only says itself */
export function explainSubscriptionFailure(code: string): string | undefined {
  if (code.startsWith('connection_')) return 'the account has to be connected again.'
  return Object.hasOwn(SUBSCRIPTION_FAILURES, code) ? SUBSCRIPTION_FAILURES[code] : undefined
}

export function explainGap(reason: SubscriptionGap['reason']): string {
  switch (reason) {
    case 'missed':
      return 'The provider did not send everything from'
    case 'expired':
    case 'removed':
    case 'replaced':
      return 'Nothing was received from'
  }
}
