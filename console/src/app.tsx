/** The frame around every page, and which page is shown to whom. */
import type { ReactNode } from 'react'
import type { Session } from './api.ts'
import { Header } from './header.tsx'
import { ConnectedPage } from './pages/connected.tsx'
import { ConnectionsPage } from './pages/connections.tsx'
import { DeliveriesPage } from './pages/deliveries.tsx'
import { DeliveryPage } from './pages/delivery.tsx'
import { DestinationPage } from './pages/destination.tsx'
import { EditDestinationPage, NewDestinationPage } from './pages/destination-form.tsx'
import { DestinationsPage } from './pages/destinations.tsx'
import { EventPage } from './pages/event.tsx'
import { EventsPage } from './pages/events.tsx'
import { FailedPage } from './pages/failed.tsx'
import { SignInPage } from './pages/signin.tsx'
import { Failure, Loading, Notice } from './parts/notice.tsx'
import { useSession } from './queries.ts'
import { Link, PageHeading, usePageChange, usePath } from './router.tsx'
import { type Page, pageOf } from './routes.ts'

export function App(): ReactNode {
  const path = usePath()
  usePageChange(path)
  const session = useSession()
  const person = session.data?.kind === 'signed_in' ? session.data.session : undefined
  const page = pageOf(path)
  return (
    <>
      <a className="skip" href="#content">
        Skip to content
      </a>
      <Header session={person} page={page} />
      <main id="content" tabIndex={-1}>
        {session.isPending && <Loading what="your session" />}
        {session.isError && session.data === undefined && (
          <Failure
            heading
            title="The console cannot be loaded"
            error={session.error}
            retry={session.refetch}
          />
        )}
        {session.data !== undefined && <Shown page={page} session={person} />}
      </main>
    </>
  )
}

function Shown({ page, session }: { page: Page; session: Session | undefined }): ReactNode {
  switch (page.kind) {
    case 'signin':
      return <SignInPage />
    case 'connected':
      return <ConnectedPage signedIn={session !== undefined} />
    case 'failed':
      return <FailedPage />
    case 'unknown':
      return <UnknownPage />
  }
  if (session === undefined) return <SignInPage />
  switch (page.kind) {
    case 'connections':
      return <ConnectionsPage session={session} />
    case 'events':
      return <EventsPage session={session} />
    case 'event':
      return <EventPage key={page.id} id={page.id} />
    case 'delivery':
      return <DeliveryPage key={page.id} id={page.id} session={session} />
  }
  // what is left is for administrators, which the service decides; here it is only said
  if (session.role !== 'admin') return <AdministratorsOnly />
  switch (page.kind) {
    case 'destinations':
      return <DestinationsPage />
    case 'destination-new':
      return <NewDestinationPage />
    case 'destination':
      return <DestinationPage key={page.id} id={page.id} />
    case 'destination-edit':
      return <EditDestinationPage key={page.id} id={page.id} />
    case 'deliveries':
      return <DeliveriesPage />
  }
}

function AdministratorsOnly(): ReactNode {
  return (
    <div className="narrow">
      <PageHeading>For administrators</PageHeading>
      <Notice>
        <p>
          This page is for administrators of Flovify Connect. Ask one of them, or go on with your own
          accounts.
        </p>
        <Link className="button" to="/connections">
          Go to connections
        </Link>
      </Notice>
    </div>
  )
}

function UnknownPage(): ReactNode {
  return (
    <div className="narrow">
      <PageHeading>Nothing here</PageHeading>
      <Notice>
        <p>This address does not belong to a page.</p>
        <Link className="button" to="/connections">
          Go to connections
        </Link>
      </Notice>
    </div>
  )
}
