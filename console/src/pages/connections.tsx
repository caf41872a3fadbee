/** What can be connected, and what is. */
import type { ProviderView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import type { Session } from '../api.ts'
import { ConnectionCard } from '../parts/connection-card.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { ProviderIcon } from '../parts/provider-icon.tsx'
import { useConnect, useConnections, useProviders } from '../queries.ts'
import { PageHeading } from '../router.tsx'

export function ConnectionsPage({ session }: { session: Session }): ReactNode {
  const providers = useProviders()
  const connections = useConnections()
  const connect = useConnect()
  // Not reset after success: the browser is on its way to the provider.
  const going = connect.isPending || connect.isSuccess ? connect.variables.provider : undefined
  return (
    <>
      <div className="page-head">
        <PageHeading>Connections</PageHeading>
        <p className="muted">Accounts that Flovify may read and act on, and whose events it receives.</p>
      </div>

      <section aria-labelledby="connect">
        <h2 id="connect">Connect an account</h2>
        {providers.isPending && <Loading what="providers" />}
        {providers.isError && (
          <Failure title="Providers could not be loaded" error={providers.error} retry={providers.refetch} />
        )}
        {connect.isError && (
          <div className="notice notice-bad" role="alert">
            <h3>The connection could not be started</h3>
            <p>{connect.error.message}</p>
          </div>
        )}
        {providers.data?.length === 0 && (
          <Notice>
            <h3>No provider is configured</h3>
            <p>The operator switches one on by setting its client id and secret, then restarting.</p>
          </Notice>
        )}
        <ul className="providers">
          {providers.data?.map((provider) => (
            <ProviderCard
              key={provider.id}
              provider={provider}
              going={going === provider.id}
              disabled={going !== undefined}
              onConnect={() => connect.mutate({ provider: provider.id })}
            />
          ))}
        </ul>
      </section>

      <section aria-labelledby="connected">
        <div className="section-head">
          <h2 id="connected">
            Connected accounts
            {connections.data !== undefined && <span className="count">{connections.data.length}</span>}
          </h2>
          {session.role === 'admin' && (
            <span className="scope-label">Administrator: accounts of all people</span>
          )}
        </div>
        {connections.isPending && <Loading what="connections" />}
        {connections.isError && (
          <Failure
            title="Connections could not be loaded"
            error={connections.error}
            retry={connections.refetch}
          />
        )}
        {connections.data?.length === 0 && (
          <Notice>
            <h3>No account is connected yet</h3>
            <p>Choose a provider above. You will sign in there, see what is asked for, and come back here.</p>
          </Notice>
        )}
        <ul className="stack">
          {connections.data?.map((connection) => (
            <ConnectionCard
              key={connection.id}
              connection={connection}
              provider={providers.data?.find(({ id }) => id === connection.provider)}
              session={session}
              busy={going !== undefined}
              onConnect={(scopes) =>
                connect.mutate({ provider: connection.provider, connection_id: connection.id, scopes })
              }
            />
          ))}
        </ul>
      </section>
    </>
  )
}

function ProviderCard(props: {
  provider: ProviderView
  going: boolean
  disabled: boolean
  onConnect: () => void
}): ReactNode {
  const { provider } = props
  const asked = provider.scopes.filter((scope) => scope.default)
  return (
    <li className="card provider">
      <div className="provider-head">
        <ProviderIcon id={provider.id} label={provider.label} />
        <h3>{provider.label}</h3>
        <button
          type="button"
          className="primary"
          disabled={props.disabled}
          onClick={props.onConnect}
          aria-label={`Connect ${provider.label}`}
        >
          {props.going ? 'Opening…' : 'Connect'}
        </button>
      </div>
      {asked.length > 0 && (
        <details>
          <summary>What it asks for</summary>
          <ul className="sentences">
            {asked.map(({ scope, sentence }) => (
              <li key={scope}>{sentence}</li>
            ))}
          </ul>
        </details>
      )}
    </li>
  )
}
