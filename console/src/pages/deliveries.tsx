/** All deliveries, newest first, by filters; dead ones can be retried. For administrators. */
import type { DestinationView, ListedDelivery } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useDeliveries } from '../delivery-queries.ts'
import { explainEnd, explainListed } from '../delivery-sentences.ts'
import { useDestinations } from '../destination-queries.ts'
import { DeliveryFilters, filterOf } from '../parts/delivery-filters.tsx'
import { Moment } from '../parts/moment.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { RetryDead } from '../parts/retry-dead.tsx'
import { Link, PageHeading, useSearch } from '../router.tsx'

export function DeliveriesPage(): ReactNode {
  const filter = filterOf(useSearch())
  const list = useDeliveries(filter)
  const { data: destinations = [] } = useDestinations()
  const items = list.data?.pages.flatMap((page) => page.items) ?? []
  const one = destinations.find(({ id }) => id === filter.destination)
  return (
    <>
      <div className="page-head page-head-live">
        <div className="grow">
          <PageHeading>Deliveries</PageHeading>
          <p className="muted">Each event on its way to a destination, newest first.</p>
        </div>
      </div>
      <DeliveryFilters
        filter={filter}
        destinations={[...destinations, ...deletedAmong(items, destinations)]}
      />
      {one !== undefined && filter.state === 'dead' && (
        <RetryDead key={one.id} destination={one.id} name={one.name} />
      )}
      {filter.state === 'dead' && one === undefined && items.length > 0 && (
        <p className="muted hint">Choose a destination to retry all that died there.</p>
      )}
      {list.isPending && <Loading what="deliveries" />}
      {list.isError && items.length === 0 && (
        <Failure title="Deliveries could not be loaded" error={list.error} retry={list.refetch} />
      )}
      {list.data !== undefined && items.length === 0 && (
        <Notice>
          <h2>{Object.keys(filter).length > 0 ? 'Nothing matches' : 'No delivery yet'}</h2>
          <p>
            {Object.keys(filter).length > 0
              ? 'No delivery that is still kept matches this filter.'
              : 'As soon as an event matches a rule, its delivery appears here.'}
          </p>
        </Notice>
      )}
      {items.length > 0 && (
        <ul className="card listed">
          {items.map((delivery) => (
            <Row key={delivery.id} delivery={delivery} />
          ))}
        </ul>
      )}
      {list.isError && items.length > 0 && (
        <div className="notice notice-bad" role="alert">
          <p>More could not be loaded: {list.error.message}</p>
        </div>
      )}
      {list.hasNextPage && (
        <div className="more">
          <button type="button" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            {list.isFetchingNextPage ? 'Loading…' : 'Load older deliveries'}
          </button>
        </div>
      )}
    </>
  )
}

/** Deleted destinations are not listed; those of the deliveries that are shown can be chosen all the same. */
function deletedAmong(
  items: readonly ListedDelivery[],
  destinations: readonly DestinationView[],
): { id: string; name: string }[] {
  const known = new Set(destinations.map(({ id }) => id))
  const deleted = new Map(
    items
      .filter(({ destination_id, reason }) => reason === 'destination_deleted' && !known.has(destination_id))
      .map((item) => [item.destination_id, `${item.destination_name} (deleted)`]),
  )
  return [...deleted].map(([id, name]) => ({ id, name }))
}

function Row({ delivery }: { delivery: ListedDelivery }): ReactNode {
  const end = delivery.state === 'delivered' ? undefined : explainEnd(delivery.reason)
  return (
    <li>
      <Link className="listed-row" to={`/deliveries/${delivery.id}`}>
        <span className="listed-what">
          <strong>{delivery.destination_name}</strong>
          <code>{delivery.event_id}</code>
          {end !== undefined && <span className="muted">{end}</span>}
        </span>
        <span className="muted">
          {delivery.attempts === 1 ? '1 attempt' : `${delivery.attempts} attempts`}
        </span>
        <span className="muted listed-when">
          <Moment at={delivery.at} />
        </span>
        <span className="listed-state">
          <Pill {...explainListed(delivery)} />
        </span>
      </Link>
    </li>
  )
}
