/** What notifies us of a connection's changes: how each is, until when, what was missed, and what a person may do about it. */
import type { SubscriptionView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useSubscription } from '../queries.ts'
import { explainGap, explainSubscription } from '../sentences.ts'
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
            <span className="subscription-kind">{one.kind.replace(':', ' ')}</span>
            <Pill
              {...(one.enabled ? explainSubscription(one.state) : { label: 'Off', tone: 'calm' as const })}
            />
            <span className="muted">
              {one.state === 'active' && one.expires_at !== null && (
                <>
                  until <Moment at={one.expires_at} far day />
                </>
              )}
              {one.failure_code !== null && one.state !== 'active' && <code>{one.failure_code}</code>}
            </span>
            <span className="muted subscription-last">
              {one.last_notification_at === null ? (
                'Nothing received yet'
              ) : (
                <>
                  Last received <Moment at={one.last_notification_at} far />
                </>
              )}
              {one.last_checked_at !== null && (
                <>
                  {' · checked '}
                  <Moment at={one.last_checked_at} far />
                </>
              )}
            </span>
            <Renewal subscription={one} />
            <Choices subscription={one} />
          </li>
        ))}
      </ul>
    </div>
  )
}

/** When it was and will be prolonged, what stands in the way, and when nothing was pushed. */
function Renewal({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { last_renewed_at, renews_at, renewal_failure_code, gaps, missed, missed_at } = subscription
  return (
    <>
      {renews_at !== null && (
        <span className="muted subscription-last">
          {last_renewed_at !== null && (
            <>
              Prolonged <Moment at={last_renewed_at} day />, again{' '}
            </>
          )}
          <Moment at={renews_at} far day />
        </span>
      )}
      {renewal_failure_code !== null && (
        <span className="text-bad subscription-last">
          It could not be prolonged, and is tried again: <code>{renewal_failure_code}</code>
        </span>
      )}
      {missed_at !== null && (
        <span className="text-bad subscription-last">
          {missed === 1 ? 'Once' : `${missed} times`} something changed and was not pushed, last{' '}
          <Moment at={missed_at} far day />
        </span>
      )}
      {gaps.map((gap) => (
        <span key={gap.from} className="muted subscription-last">
          {explainGap(gap.reason)} <Moment at={gap.from} day /> to{' '}
          {gap.to === null ? 'now' : <Moment at={gap.to} day />}
        </span>
      ))}
    </>
  )
}

function Choices({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { id, kind, state, enabled } = subscription
  const { renew, choose } = useSubscription(id)
  const busy = renew.isPending || choose.isPending
  const error = renew.error ?? choose.error
  return (
    <span className="subscription-last subscription-choices">
      {state === 'active' && (
        <button
          type="button"
          className="quiet"
          disabled={busy}
          onClick={() => renew.mutate()}
          aria-label={`Renew now: ${kind}`}
        >
          Renew now
        </button>
      )}
      <button
        type="button"
        className="quiet"
        disabled={busy}
        onClick={() => choose.mutate({ enabled: !enabled })}
        aria-label={enabled ? `Stop watching: ${kind}` : `Watch again: ${kind}`}
      >
        {enabled ? 'Stop watching' : 'Watch again'}
      </button>
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
    </span>
  )
}
