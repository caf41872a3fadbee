/** One connected account: who, how it is, what it may do, what it receives, and how to end it. */
import type { ConnectionView, ProviderView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import type { Session } from '../api.ts'
import { explainStatus, explainStatusReason } from '../sentences.ts'
import { AddScopes } from './add-scopes.tsx'
import { AdminLink } from './admin-link.tsx'
import { Disconnect } from './disconnect.tsx'
import { Moment } from './moment.tsx'
import { Pill } from './pill.tsx'
import { ProviderIcon } from './provider-icon.tsx'
import { Scopes } from './scopes.tsx'
import { Subscriptions } from './subscriptions.tsx'

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
