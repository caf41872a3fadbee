/** All destinations with how they are doing. For administrators. */
import type { DestinationView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useDestinations, useHealth } from '../destination-queries.ts'
import { explainStanding } from '../destination-sentences.ts'
import { FlowButton } from '../parts/flow-button.tsx'
import { HourCharts } from '../parts/hour-charts.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { Link, PageHeading } from '../router.tsx'

export function DestinationsPage(): ReactNode {
  const list = useDestinations()
  return (
    <>
      <div className="page-head page-head-live">
        <div className="grow">
          <PageHeading>Destinations</PageHeading>
          <p className="muted">Where events are sent, and how that goes.</p>
        </div>
        <Link className="button primary" to="/destinations/new">
          New destination
        </Link>
      </div>
      {list.isPending && <Loading what="destinations" />}
      {list.isError && list.data === undefined && (
        <Failure title="Destinations could not be loaded" error={list.error} retry={list.refetch} />
      )}
      {list.data?.length === 0 && (
        <Notice>
          <h2>No destination yet</h2>
          <p>
            Events are received and kept. Add a destination to have them sent to n8n or a service of yours.
          </p>
        </Notice>
      )}
      <ul className="stack">
        {list.data?.map((destination) => (
          <Card key={destination.id} destination={destination} />
        ))}
      </ul>
    </>
  )
}

function Card({ destination }: { destination: DestinationView }): ReactNode {
  const health = useHealth(destination.id)
  const { label, tone, text } = explainStanding(destination, health.data)
  return (
    <li className="card destination">
      <div className="destination-head">
        <h2 className="grow">
          <Link to={`/destinations/${destination.id}`}>{destination.name}</Link>
        </h2>
        <Pill label={label} tone={tone} />
      </div>
      <p className="muted destination-url">
        {destination.kind === 'n8n' ? 'n8n' : 'HTTP'} · <code>{destination.url}</code>
      </p>
      {text !== undefined && <p>{text}</p>}
      {health.isError && health.data === undefined && (
        <p className="text-bad">How it is doing could not be loaded: {health.error.message}</p>
      )}
      {health.data !== undefined && (
        <>
          <HourCharts health={health.data} />
          <p className="counts">
            <Link to={`/deliveries?state=open&destination=${destination.id}`}>{health.data.open} open</Link>
            <Link to={`/deliveries?state=dead&destination=${destination.id}`}>{health.data.dead} dead</Link>
            <span className="muted">{health.data.in_flight} being sent</span>
          </p>
        </>
      )}
      <div className="actions">
        <FlowButton destination={destination} />
      </div>
    </li>
  )
}
