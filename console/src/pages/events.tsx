/** All events, newest first, live. */
import type { EventView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import type { Session } from '../api.ts'
import { Moment } from '../parts/moment.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { ProviderIcon } from '../parts/provider-icon.tsx'
import { useEventFeed, useOlderEvents, useProviders } from '../queries.ts'
import { Link, PageHeading } from '../router.tsx'
import { explainDeliveries, nameEvent } from '../sentences.ts'

export function EventsPage({ session }: { session: Session }): ReactNode {
  const feed = useEventFeed()
  const older = useOlderEvents()
  const providers = useProviders().data ?? []
  const labelOf = (id: string | null): string =>
    providers.find((one) => one.id === id)?.label ?? id ?? 'Flovify'
  const { data } = feed
  return (
    <>
      <div className="page-head page-head-live">
        <div className="grow">
          <PageHeading>Events</PageHeading>
          <p className="muted">What providers told us, and where it was delivered.</p>
        </div>
        {session.role === 'admin' && <span className="scope-label">Administrator: events of all people</span>}
        <Live failing={feed.isError} />
      </div>
      <div className="visually-hidden" role="status">
        {data !== undefined &&
          data.arrived > 0 &&
          announcement(data.lastArrived, data.items[0], data.arrived)}
      </div>

      {feed.isPending && <Loading what="events" />}
      {feed.isError && data === undefined && (
        <Failure title="Events could not be loaded" error={feed.error} retry={feed.refetch} />
      )}
      {data?.items.length === 0 && (
        <Notice>
          <h2>No event yet</h2>
          <p>
            As soon as something happens in a connected account, it appears here by itself. No account
            connected yet?
          </p>
          <Link className="button" to="/connections">
            Connect an account
          </Link>
        </Notice>
      )}
      {data !== undefined && data.items.length > 0 && (
        <ul className="card events">
          {data.items.map((event) => (
            <EventRow key={event.id} event={event} provider={labelOf(event.provider)} />
          ))}
        </ul>
      )}
      {older.isError && (
        <div className="notice notice-bad" role="alert">
          <p>Older events could not be loaded: {older.error.message}</p>
        </div>
      )}
      {data?.older !== undefined && (
        <div className="more">
          <button
            type="button"
            disabled={older.isPending}
            onClick={() => data.older !== undefined && older.mutate(data.older)}
          >
            {older.isPending ? 'Loading…' : 'Load older events'}
          </button>
        </div>
      )}
    </>
  )
}

function EventRow({ event, provider }: { event: EventView; provider: string }): ReactNode {
  return (
    <li>
      <Link className="event" to={`/events/${event.id}`}>
        <ProviderIcon id={event.provider} label={provider} />
        <span className="event-what">
          <strong>{nameEvent(event.type)}</strong>
          {nameEvent(event.type) !== event.type && <code>{event.type}</code>}
        </span>
        <span className="event-who">
          <span>{event.account_label ?? 'No account'}</span>
          <span className="muted">{provider}</span>
        </span>
        <span className="event-when muted">
          <Moment at={event.received_at} />
        </span>
        <span className="event-state">
          <Pill {...explainDeliveries(event.deliveries)} />
        </span>
      </Link>
    </li>
  )
}

function Live({ failing }: { failing: boolean }): ReactNode {
  return failing ? (
    <span className="live live-off">Not live: trying again</span>
  ) : (
    <span className="live">
      <span className="live-dot" aria-hidden="true" />
      Live
    </span>
  )
}

/** `total` keeps two equal announcements apart, so that the second is read out too. */
function announcement(count: number, newest: EventView | undefined, total: number): string {
  const name = newest === undefined ? '' : ` Latest: ${nameEvent(newest.type)}.`
  return `${count === 1 ? 'One new event.' : `${count} new events.`}${name} ${total} since you opened this page.`
}
