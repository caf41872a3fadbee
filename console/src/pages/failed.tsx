/** Why the provider ended a connection. Shows a sentence of our own for each known reason, never the parameter. */
import type { ReactNode } from 'react'
import { AdminLink } from '../parts/admin-link.tsx'
import { useProviders } from '../queries.ts'
import { Link, PageHeading } from '../router.tsx'
import { explainReason } from '../sentences.ts'

export function FailedPage(): ReactNode {
  const reason = new URLSearchParams(window.location.search).get('reason')
  const { title, text } = explainReason(reason)
  return (
    <div className="narrow">
      <section className="card hero" role="alert">
        <PageHeading>{title}</PageHeading>
        <p>{text}</p>
        {reason === 'admin_required' && <LinksForAdmins />}
        <div className="actions">
          <Link className="button primary" to="/connections">
            Go to connections
          </Link>
        </div>
      </section>
    </div>
  )
}

/** The address does not say which provider it was: each one that knows administrators is offered. */
function LinksForAdmins(): ReactNode {
  const providers = useProviders()
  return (
    <>
      {providers.data
        ?.filter((provider) => provider.admin_consent)
        .map((provider) => (
          <AdminLink key={provider.id} provider={provider} />
        ))}
    </>
  )
}
