/**
 * Where the provider's consent ends: posts the ticket from here, so that the connection is made by the very session
 * that began it, and shows which account was connected.
 */
import type { ConnectionView } from '@flovify/client/wire'
import { type ReactNode, useEffect, useRef, useSyncExternalStore } from 'react'
import { ApiError } from '../api.ts'
import { currentFragment, dropFragment, onFragment } from '../fragment.ts'
import { Loading, Notice } from '../parts/notice.tsx'
import { ProviderIcon } from '../parts/provider-icon.tsx'
import { Scopes } from '../parts/scopes.tsx'
import { useFinish, useProviders } from '../queries.ts'
import { Link, PageHeading } from '../router.tsx'
import { explainFinish } from '../sentences.ts'

export function ConnectedPage({ signedIn }: { signedIn: boolean }): ReactNode {
  const fragment = useSyncExternalStore(onFragment, currentFragment)
  const ticket = useRef<string | undefined>(undefined)
  const finish = useFinish()
  const { mutate } = finish
  useEffect(() => {
    const given = ticketOf(fragment)
    if (given === undefined) return
    // Taken before it is sent: an effect that runs twice, or a later visit, finds nothing.
    dropFragment()
    ticket.current = given
    mutate(given)
  }, [fragment, mutate])

  return (
    <div className="narrow">
      {finish.isSuccess ? (
        <Connected connection={finish.data.connection} />
      ) : finish.isError ? (
        <NotFinished
          error={finish.error}
          signedIn={signedIn}
          retry={() => ticket.current !== undefined && mutate(ticket.current)}
        />
      ) : finish.isPending || ticketOf(fragment) !== undefined ? (
        <section className="card hero">
          <PageHeading>Finishing the connection…</PageHeading>
          <Loading what="the account" />
        </section>
      ) : (
        <section className="card hero">
          <PageHeading>Nothing to finish here</PageHeading>
          <p>
            This page completes a connection right after the provider’s consent. That is done or has expired.
          </p>
          <Ways />
        </section>
      )}
    </div>
  )
}

function Connected({ connection }: { connection: ConnectionView }): ReactNode {
  const provider = useProviders().data?.find(({ id }) => id === connection.provider)
  const label = provider?.label ?? connection.provider
  return (
    <section className="card hero" role="status">
      <ProviderIcon id={connection.provider} label={label} />
      <PageHeading>Account connected</PageHeading>
      <p className="account">
        <strong>{connection.account_label}</strong>
        <span className="muted">{label}</span>
      </p>
      {connection.scopes_missing.length > 0 && (
        <Notice>
          <p>Not everything was allowed, so some things will not work. You can connect again at any time.</p>
        </Notice>
      )}
      <Scopes connection={connection} provider={provider} />
      <p className="muted">Not the account you meant? Disconnect it under Connections.</p>
      <div className="actions">
        <Link className="button primary" to="/connections">
          Go to connections
        </Link>
        <Link className="button" to="/events">
          Watch events
        </Link>
      </div>
    </section>
  )
}

function NotFinished(props: { error: Error; signedIn: boolean; retry: () => unknown }): ReactNode {
  const known = props.error instanceof ApiError ? props.error : new ApiError(0, {})
  const { title, text } = explainFinish(known)
  const again = known.status === 0 || known.status === 503
  return (
    <section className="card hero" role="alert">
      <PageHeading>{title}</PageHeading>
      <p>{text}</p>
      {known.reason !== undefined && (
        <p className="muted">
          For your administrator: <code>{known.reason}</code>
        </p>
      )}
      {again ? (
        <div className="actions">
          <button type="button" className="primary" onClick={() => void props.retry()}>
            Try again
          </button>
        </div>
      ) : (
        <Ways signIn={!props.signedIn} />
      )}
    </section>
  )
}

function Ways({ signIn = false }: { signIn?: boolean }): ReactNode {
  return (
    <div className="actions">
      <Link className="button primary" to={signIn ? '/signin' : '/connections'}>
        {signIn ? 'How to sign in' : 'Go to connections'}
      </Link>
    </div>
  )
}

function ticketOf(fragment: { path: string; text: string } | undefined): string | undefined {
  if (fragment?.path !== '/auth/success') return undefined
  return new URLSearchParams(fragment.text).get('ticket') ?? undefined
}
