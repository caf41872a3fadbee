/** Who is signed in, the places to go, and the way out. */
import type { ReactNode } from 'react'
import type { Session } from './api.ts'
import { Mark } from './parts/icons.tsx'
import { useSignOut } from './queries.ts'
import { Link, navigate } from './router.tsx'
import type { Page } from './routes.ts'

export function Header({ session, page }: { session: Session | undefined; page: Page }): ReactNode {
  const signOut = useSignOut()
  const leave = (): void => signOut.mutate(undefined, { onSuccess: () => navigate('/signin') })
  return (
    <header className="frame">
      <div className="frame-row">
        <Link className="brand" to="/connections" aria-label="Flovify Connect">
          <Mark />
          <span>Flovify Connect</span>
        </Link>
        {session !== undefined && (
          <nav aria-label="Pages">
            <Link to="/connections" {...current(page.kind === 'connections')}>
              Connections
            </Link>
            <Link to="/events" {...current(page.kind === 'events' || page.kind === 'event')}>
              Events
            </Link>
            {session.role === 'admin' && (
              <>
                <Link to="/destinations" {...current(page.kind.startsWith('destination'))}>
                  Destinations
                </Link>
                <Link to="/deliveries" {...current(page.kind === 'deliveries' || page.kind === 'delivery')}>
                  Deliveries
                </Link>
              </>
            )}
          </nav>
        )}
        {session !== undefined && (
          <div className="person">
            <span className="person-name" title={session.email}>
              {session.name ?? session.email}
            </span>
            <span className={`role role-${session.role}`}>{session.role === 'admin' ? 'Admin' : 'User'}</span>
            <button type="button" className="quiet" onClick={leave} disabled={signOut.isPending}>
              Sign out
            </button>
          </div>
        )}
      </div>
      {signOut.isError && (
        <p className="frame-error" role="alert">
          You are still signed in: {signOut.error.message}
        </p>
      )}
    </header>
  )
}

function current(is: boolean): { 'aria-current'?: 'page' } {
  return is ? { 'aria-current': 'page' } : {}
}
