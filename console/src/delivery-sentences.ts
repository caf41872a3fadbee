/** States, reasons and errors of deliveries → words for people. Fixed tables; an unknown code is shown as it is. Pure. */
import type { AttemptDetail, DeliveryDetail, ListedDelivery } from '@flovify/client/wire'
import type { Tone } from './sentences.ts'

type Label = { readonly label: string; readonly tone: Tone }

const WAITING: Readonly<Record<NonNullable<ListedDelivery['waiting']>, Label>> = {
  sending: { label: 'Being sent', tone: 'busy' },
  scheduled: { label: 'Tried again later', tone: 'warn' },
  throttled: { label: 'Waiting for its turn', tone: 'busy' },
  paused: { label: 'Held: paused', tone: 'calm' },
  disabled: { label: 'Held: disabled', tone: 'warn' },
  breaker_open: { label: 'Held: destination is down', tone: 'warn' },
}

const ENDED: Readonly<Record<Exclude<ListedDelivery['state'], 'open'>, Label>> = {
  delivered: { label: 'Delivered', tone: 'good' },
  dead: { label: 'Dead', tone: 'bad' },
  cancelled: { label: 'Cancelled', tone: 'calm' },
  expired: { label: 'Expired', tone: 'bad' },
}

export function explainListed(delivery: Pick<ListedDelivery, 'state' | 'waiting'>): Label {
  if (delivery.state !== 'open') return ENDED[delivery.state] ?? { label: delivery.state, tone: 'calm' }
  return delivery.waiting === null ? { label: 'Waiting', tone: 'busy' } : WAITING[delivery.waiting]
}

/** What stands between an open delivery and its next attempt; `at`: the time from which it can go, where there is one. */
export interface Wait {
  readonly at?: string
  readonly text?: string
}

/** @returns undefined for one that is not open */
export function explainWait(
  delivery: Pick<DeliveryDetail, 'state' | 'waiting' | 'due_at' | 'held_until' | 'probe_at'>,
): Wait | undefined {
  if (delivery.state !== 'open') return undefined
  const { waiting, due_at, held_until, probe_at } = delivery
  switch (waiting) {
    case 'paused':
      return { text: 'Its destination is paused: it is sent when somebody resumes it.' }
    case 'disabled':
      return { text: 'Its destination is disabled: it is sent when somebody takes it into use again.' }
    case 'breaker_open':
      return {
        text: 'Its destination is down: one delivery at a time tries whether it is back, the next one then.',
        ...(probe_at !== null && { at: probe_at }),
      }
    case 'sending':
      return { text: 'It is being sent.' }
    case 'scheduled':
    case 'throttled':
    case null:
      if (held_until !== null && (due_at === null || due_at < held_until))
        return { text: 'The receiver asked to be left alone until then.', at: held_until }
      return waiting === 'throttled'
        ? { text: 'It is due: it goes when the destination’s limits and those before it let it.' }
        : { ...(due_at !== null && { at: due_at }) }
    default:
      return waiting satisfies never
  }
}

const REASONS: Readonly<Record<string, string>> = {
  exhausted: 'All its tries are used up.',
  rejected: 'The destination answered with a status that is not worth another try.',
  poison: 'Sending it ended the process three times: look at the payload before it is retried.',
  destination_deleted: 'The destination was deleted.',
  event_gone: 'Its event was older than what is kept.',
  retention: 'It waited longer than anything is kept.',
}

export function explainEnd(reason: string | null): string | undefined {
  return reason === null ? undefined : (REASONS[reason] ?? `Reason: ${reason}`)
}

const ERRORS: Readonly<Record<string, string>> = {
  timeout: 'It did not answer in time.',
  connection_refused: 'Nothing listens there.',
  connection_reset: 'It closed the connection before it answered.',
  unreachable: 'There is no way to its address.',
  name_not_found: 'Its name is not known.',
  tls: 'Its certificate is not trusted, or the encrypted connection failed.',
  bad_answer: 'Its answer was not HTTP, or too large.',
  network: 'The connection failed for a reason that the system does not name.',
  vault_error:
    'Nothing was sent: its secrets cannot be opened, because their key is missing or they were changed. Tell the operator of this service.',
  // as it was stored before the reason came with it
  egress_refused: 'Nothing was sent: its address is refused. Send a test event to see why.',
  egress_not_a_url: 'Nothing was sent: its address is not a URL. Change it.',
  egress_scheme:
    'Nothing was sent: only https is used outside your own network. Change the URL, or name the host in EGRESS_ALLOW.',
  egress_userinfo: 'Nothing was sent: a URL with user name or password is refused. Send a header instead.',
  egress_port:
    'Nothing was sent: only port 443 is used outside your own network. Change the URL, or name host and port in EGRESS_ALLOW.',
  egress_special_address:
    'Nothing was sent: its name leads to an address inside a network (or reserved). If it is yours, name host, port and path in EGRESS_ALLOW.',
  egress_name_not_found: 'Nothing was sent: its host name has no address. Check its spelling and DNS.',
}

/** Why a try failed; undefined for one that did not. */
export function explainAttempt(
  attempt: Pick<AttemptDetail, 'outcome' | 'status' | 'error'>,
): string | undefined {
  if (attempt.outcome === 'delivered') return undefined
  if (attempt.status === null) {
    const code = attempt.error ?? ''
    return Object.hasOwn(ERRORS, code) ? ERRORS[code] : `It failed: ${code || 'no reason is known'}.`
  }
  if (attempt.status === 410) return 'It says that it is gone for good: the destination was disabled.'
  if (attempt.status === 429) return 'It asks for fewer requests.'
  if (attempt.status === 401 || attempt.status === 403)
    return 'It refused who we are: check its headers and its signing secret.'
  if (attempt.status === 404) return 'It does not know this URL.'
  if (attempt.status >= 500) return 'It had an error of its own.'
  if (attempt.status >= 300 && attempt.status < 400) return 'It redirects, which is not followed.'
  return 'It refused the request.'
}

/** What the filter of the list offers. */
export const STATE_FILTERS: readonly (readonly [value: string, label: string])[] = [
  ['', 'All'],
  ['open', 'Open'],
  ['throttled', 'Open: waiting for its turn'],
  ['paused', 'Open: held'],
  ['delivered', 'Delivered'],
  ['dead', 'Dead'],
  ['cancelled', 'Cancelled'],
  ['expired', 'Expired'],
]

const PHASES: readonly (readonly [key: string, label: string])[] = [
  ['lookupMs', 'name lookup'],
  ['connectMs', 'connect'],
  ['tlsMs', 'TLS'],
]

export interface Phase {
  readonly label: string
  readonly ms: number
}

/** The phases that were reached, in their order. First byte and total count from the beginning: what each added is shown. */
export function phasesOf(phases: Readonly<Record<string, number | undefined>>): Phase[] {
  const steps = PHASES.flatMap(([key, label]) => {
    const ms = phases[key]
    return ms === undefined ? [] : [{ label, ms }]
  })
  const connected = steps.reduce((sum, { ms }) => sum + ms, 0)
  const { firstByteMs, totalMs = 0 } = phases
  if (firstByteMs === undefined)
    return totalMs > connected ? [...steps, { label: 'waiting', ms: totalMs - connected }] : steps
  return [
    ...steps,
    { label: 'first byte', ms: Math.max(0, firstByteMs - connected) },
    { label: 'the rest', ms: Math.max(0, totalMs - firstByteMs) },
  ]
}
