/** One connected account: who, how it is, what it may do, what it receives, and how to end it. */
import type { ConnectionView, ProviderView, SubscriptionView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import type { Session } from '../api.ts'
import { explainGap, explainStatus, explainStatusReason, explainSubscription } from '../sentences.ts'
import { AddScopes } from './add-scopes.tsx'
import { AdminLink } from './admin-link.tsx'
import { Disconnect } from './disconnect.tsx'
import { Moment } from './moment.tsx'
import { Pill } from './pill.tsx'
import { ProviderIcon } from './provider-icon.tsx'
import { Scopes } from './scopes.tsx'

export function ConnectionCard(props: {
  connection: ConnectionView
  provider: ProviderView | undefined
  session: Session
  busy: boolean
  /** @param scopes asked for on top of what was asked for before */
  onConnect: (scopes: string[]) => void
}): ReactNode {
  const { connection, provider, session } = props
  const label = provider?.label ?? connection.provider
  const status = explainStatus(connection.status)
  const reason = explainStatusReason(connection.status_reason)
  const ended = connection.status === 'revoked' || connection.status === 'revoking'
  const own = connection.user_id === session.user_id
  return (
    <li className="card connection">
      <div className="connection-head">
        <ProviderIcon id={connection.provider} label={label} />
        <div className="grow">
          <h3>{connection.account_label}</h3>
          <p className="muted">
            {label} · connected <Moment at={connection.created_at} day />
            {session.role === 'admin' && ` · ${own ? 'yours' : `user ${connection.user_id ?? 'deleted'}`}`}
          </p>
        </div>
        <Pill label={status.label} tone={status.tone} />
      </div>
      {status.text !== undefined && (
        <p className="status-text">
          {status.text}
          {reason === undefined ? (
            <>
              {' '}
              <code>{connection.status_reason}</code>
            </>
          ) : (
            reason !== '' && ` ${reason}`
          )}
        </p>
      )}
      <div className="connection-body">
        <Scopes connection={connection} provider={provider} />
        {!ended && <Subscriptions subscriptions={connection.subscriptions} />}
      </div>
      <div className="connection-actions">
        {connection.status === 'admin_required' && own && provider?.admin_consent === true && (
          <AdminLink provider={provider} />
        )}
        {connection.status !== 'active' && connection.status !== 'revoking' && own && (
          <button
            type="button"
            onClick={() => props.onConnect([])}
            disabled={props.busy}
            aria-label={`Connect again: ${connection.account_label}`}
          >
            Connect again
          </button>
        )}
        {!ended && own && provider !== undefined && (
          <AddScopes connection={connection} provider={provider} busy={props.busy} onAsk={props.onConnect} />
        )}
        {ended ? (
          <Withdrawal connection={connection} label={label} />
        ) : (
          <Disconnect
            id={connection.id}
            account={connection.account_label}
            provider={label}
            atProvider={connection.at_disconnect}
          />
        )}
      </div>
    </li>
  )
}

/** What is left for the person to do after a disconnect. */
function Withdrawal({ connection, label }: { connection: ConnectionView; label: string }): ReactNode {
  const { kind, url } = connection.at_disconnect
  if (kind !== 'withdraw_yourself' || url === null) return null
  return (
    <p className="muted">
      The consent itself can only be withdrawn by you:{' '}
      <a href={url} target="_blank" rel="noreferrer noopener">
        permissions at {label}
      </a>
    </p>
  )
}

function Subscriptions({ subscriptions }: { subscriptions: readonly SubscriptionView[] }): ReactNode {
  return (
    <div className="facts">
      <p className="label">Notifications</p>
      {subscriptions.length === 0 && <p className="muted">None: nothing that was allowed sends any.</p>}
      <ul className="subscriptions">
        {subscriptions.map((one) => (
          <li key={one.id}>
            <span className="subscription-kind">{one.kind}</span>
            <Pill {...explainSubscription(one.state)} />
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
            </span>
            <Renewal subscription={one} />
          </li>
        ))}
      </ul>
    </div>
  )
}

/** When it was and will be prolonged, what stands in the way, and when nothing was pushed. */
function Renewal({ subscription }: { subscription: SubscriptionView }): ReactNode {
  const { last_renewed_at, renews_at, renewal_failure_code, gaps } = subscription
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
      {gaps.map((gap) => (
        <span key={gap.from} className="muted subscription-last">
          {explainGap(gap.reason)} <Moment at={gap.from} day /> to{' '}
          {gap.to === null ? 'now' : <Moment at={gap.to} day />}
        </span>
      ))}
    </>
  )
}
