/** What notifies us of a connection's changes: how each is, since and until when, what was missed, and what a person may do about it. */
import type { SubscriptionView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useSubscription } from '../queries.ts'
import {
  explainGap,
  explainSubscription,
  explainSubscriptionFailure,
  nameOfKind,
} from '../subscription-sentences.ts'
import { Moment } from './moment.tsx'
import { Pill } from './pill.tsx'

export function Subscriptions({ subscriptions }: { subscriptions: readonly SubscriptionView[] }): ReactNode {
  return (
    <div className="facts">
      <p className="label">Notifications</p>
      {subscriptions.length === 0 && <p className="muted">None: nothing that was allowed sends any.</p>}
      <ul className="subscriptions">
        {subscriptions.map((one) => (
          <li key={one.id}>
            <div className="subscription-head">
              <span className="subscription-kind">{nameOfKind(one.kind)}</span>
              <Pill
                {...(one.enabled ? explainSubscription(one.state) : { label: 'Off', tone: 'calm' as const })}
              />
              <Glance subscription={one} />
            </div>
            <Troubles subscription={one} />
            <details className="subscription-details">
              <summary>
                Details<span className="visually-hidden"> of {nameOfKind(one.kind)}</span>
              </summary>
              {one.state !== 'stopped' && <Times subscription={one} />}
              <Gaps subscription={one} />
              <Choices subscription={one} />
            </details>
          </li>
        ))}
      </ul>
    </div>
  )
}

/** What most people want to know, in one line. */
function Glance({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { state, last_notification_at, expires_at } = subscription
  if (state !== 'active') return null
  return (
    <span className="muted">
      {last_notification_at === null ? (
        'Nothing received yet'
      ) : (
        <>
          Last received <Moment at={last_notification_at} day />
        </>
      )}
      {expires_at !== null && (
        <>
          {' · until '}
          <Moment at={expires_at} day />
        </>
      )}
    </span>
  )
}

/** What stands in the way of what is to come, first: it is what somebody looks for. */
function Troubles({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { state, failure_code, renewal_failure_code, expires_at, missed_at, gaps } = subscription
  const open = gaps.find(({ to }) => to === null)
  if (open !== undefined && failure_code === null)
    return (
      <p className="text-bad">
        Nothing is received since <Moment at={open.from} day />; a new one is being made.
      </p>
    )
  if (failure_code !== null && (state === 'wanted' || state === 'failed'))
    return (
      <p className="text-bad">
        {state === 'wanted' ? 'Not there yet, and tried again: ' : 'Nothing is received: '}
        {explainSubscriptionFailure(failure_code) ?? <code>{failure_code}</code>}
      </p>
    )
  if (state !== 'active') return null
  if (renewal_failure_code === null)
    return missed_at === null || !gaps.some(({ reason }) => reason === 'missed') ? null : (
      <p className="text-bad">
        A change was not sent to us, found <Moment at={missed_at} day />: the gap is in the details.
      </p>
    )
  return (
    <p className="text-bad">
      It could not be renewed, and is tried again{' '}
      {expires_at !== null && (
        <>
          until <Moment at={expires_at} day />
        </>
      )}
      : {explainSubscriptionFailure(renewal_failure_code) ?? <code>{renewal_failure_code}</code>}
    </p>
  )
}

function Times({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { state, created_at, expires_at, last_notification_at, renews_at, last_renewed_at } = subscription
  const { last_checked_at, next_check_at, missed, missed_at } = subscription
  const isLive = state === 'active'
  return (
    <dl className="subscription-times">
      <Time name="Watched since" at={created_at} />
      {isLive && <Time name="Until" at={expires_at} far />}
      <Time name="Last received" at={last_notification_at} otherwise="nothing yet" far />
      {isLive && <Time name="Last renewed" at={last_renewed_at} />}
      {isLive && <Time name="Next renewal" at={renews_at} otherwise="when it is live" far />}
      {isLive && <Time name="Last checked" at={last_checked_at} otherwise="not yet" far />}
      {isLive && <Time name="Next check" at={next_check_at} otherwise="when it is live" far />}
      <Time
        name={missed > 1 ? `Not pushed, ${missed} times, last` : 'Not pushed, last'}
        at={missed_at}
        otherwise="never"
        bad
      />
    </dl>
  )
}

function Time(props: {
  readonly name: string
  readonly at: string | null
  readonly otherwise?: string
  readonly far?: boolean
  readonly bad?: boolean
}): ReactNode {
  const { name, at, otherwise, far = false, bad = false } = props
  if (at === null && otherwise === undefined) return null
  return (
    <div>
      <dt>{name}</dt>
      <dd className={at !== null && bad ? 'text-bad' : undefined}>
        {at === null ? otherwise : <Moment at={at} far={far} day />}
      </dd>
    </div>
  )
}

/** The newest of thirty days; the change that fell into one is not lost, but nobody was told of it. */
function Gaps({ subscription: { gaps } }: { subscription: SubscriptionView }): ReactNode {
  if (gaps.length === 0) return null
  return (
    <div className="subscription-gaps">
      <p className="muted">{gaps.length === 1 ? 'One gap' : `${gaps.length} gaps`} in thirty days:</p>
      <ul>
        {gaps.map((gap) => (
          <li key={gap.from} className="muted">
            {explainGap(gap.reason)} <Moment at={gap.from} day /> to{' '}
            {gap.to === null ? 'now' : <Moment at={gap.to} day />}
          </li>
        ))}
      </ul>
    </div>
  )
}

function Choices({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { id, kind, state, enabled } = subscription
  const { renew, choose } = useSubscription(id)
  const busy = renew.isPending || choose.isPending
  const error = renew.error ?? choose.error
  return (
    <span className="subscription-choices">
      {renew.isSuccess && (
        <span role="status" className="muted">
          Renewed within a minute, or ten minutes after its last renewal.
        </span>
      )}
      {error !== null && (
        <span role="alert" className="text-bad">
          {error.message}
        </span>
      )}
      {state === 'active' && (
        <button
          type="button"
          className="quiet"
          disabled={busy}
          onClick={() => renew.mutate()}
          aria-label={`Renew now: ${nameOfKind(kind)}`}
        >
          Renew now
        </button>
      )}
      <button
        type="button"
        className="quiet"
        disabled={busy}
        onClick={() => choose.mutate({ enabled: !enabled })}
        aria-label={`${enabled ? 'Stop watching' : 'Watch again'}: ${nameOfKind(kind)}`}
      >
        {enabled ? 'Stop watching' : 'Watch again'}
      </button>
    </span>
  )
}
