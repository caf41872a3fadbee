/** Why the provider ended a connection. Shows a sentence of our own for each known reason, never the parameter. */
import type { ReactNode } from 'react'
import { Link, PageHeading } from '../router.tsx'
import { explainReason } from '../sentences.ts'

export function FailedPage(): ReactNode {
  const { title, text } = explainReason(new URLSearchParams(window.location.search).get('reason'))
  return (
    <div className="narrow">
      <section className="card hero" role="alert">
        <PageHeading>{title}</PageHeading>
        <p>{text}</p>
        <div className="actions">
          <Link className="button primary" to="/connections">
            Go to connections
          </Link>
        </div>
      </section>
    </div>
  )
}
