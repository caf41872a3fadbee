/** One event: what it says, where it went, try by try, and its payload as text. */
import type { DeliveryView, EventDetail } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { ApiError } from '../api.ts'
import { explainListed, explainWait } from '../delivery-sentences.ts'
import { indentJson } from '../indent-json.ts'
import { Attempt, NextAttempt } from '../parts/attempt.tsx'
import { Icon } from '../parts/icons.tsx'
import { Moment } from '../parts/moment.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { ProviderIcon } from '../parts/provider-icon.tsx'
import { useEvent, useProviders } from '../queries.ts'
import { Link, PageHeading } from '../router.tsx'
import { explainDeliveries, explainDelivery, nameEvent } from '../sentences.ts'

export function EventPage({ id }: { id: string }): ReactNode {
  const event = useEvent(id)
  const gone = event.error instanceof ApiError && [400, 404].includes(event.error.status)
  return (
    <>
      <Link className="back" to="/events">
        <Icon name="back" />
        All events
      </Link>
      {event.isPending && (
        <>
          <PageHeading>Event</PageHeading>
          <Loading what="the event" />
        </>
      )}
      {event.data !== undefined && <Detail event={event.data} />}
      {event.isError && event.data === undefined && gone && (
        <Notice>
          <PageHeading>This event is not here</PageHeading>
          <p>It does not exist, belongs to somebody else, or is older than what is kept.</p>
        </Notice>
      )}
      {event.isError && event.data === undefined && !gone && (
        <Failure heading title="The event could not be loaded" error={event.error} retry={event.refetch} />
      )}
    </>
  )
}

function Detail({ event }: { event: EventDetail }): ReactNode {
  const providers = useProviders().data ?? []
  const provider = providers.find((one) => one.id === event.provider)?.label ?? event.provider ?? 'Flovify'
  return (
    <>
      <div className="event-head">
        <ProviderIcon id={event.provider} label={provider} />
        <div className="grow">
          <PageHeading>{nameEvent(event.type)}</PageHeading>
          <p className="muted">
            {event.account_label ?? 'No account'} · {provider} · <Moment at={event.received_at} />
          </p>
        </div>
        <span role="status">
          <Pill {...explainDeliveries(event.deliveries)} />
        </span>
      </div>

      <section aria-labelledby="deliveries">
        <h2 id="deliveries">Deliveries</h2>
        {event.deliveries.length === 0 && (
          <Notice>
            <p>No rule sends this event anywhere. It is stored and can be seen here.</p>
          </Notice>
        )}
        <ul className="stack">
          {event.deliveries.map((delivery) => (
            <Delivery key={delivery.id} delivery={delivery} receivedAt={event.received_at} />
          ))}
        </ul>
      </section>

      <section aria-labelledby="about">
        <h2 id="about">About this event</h2>
        <dl className="card about">
          <Fact name="Type" value={event.type} />
          <Fact name="Provider’s own type" value={event.origin_type} />
          <Fact name="Subject" value={event.subject} />
          <Fact name="Source" value={event.source} />
          <Fact name="Event id" value={event.id} />
          <Fact name="Connection" value={event.connection_id} />
          <When name="Happened" at={event.time} />
          <When name="Received" at={event.received_at} />
          <When name="Stored" at={event.recorded_at} />
        </dl>
      </section>

      <section aria-labelledby="payload">
        <h2 id="payload">Payload</h2>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
        <pre className="card payload" tabIndex={0}>
          {indentJson(event.payload)}
        </pre>
      </section>
    </>
  )
}

function Fact({ name, value }: { name: string; value: string | null }): ReactNode {
  if (value === null) return null
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <code>{value}</code>
      </dd>
    </div>
  )
}

function When({ name, at }: { name: string; at: string | null }): ReactNode {
  if (at === null) return null
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <Moment at={at} far />
      </dd>
    </div>
  )
}

function Delivery({ delivery, receivedAt }: { delivery: DeliveryView; receivedAt: string }): ReactNode {
  const wait = explainWait(delivery)
  return (
    <li className="card delivery">
      <div className="delivery-head">
        <h3 className="grow">
          <Link to={`/deliveries/${delivery.id}`}>{delivery.destination_name}</Link>
        </h3>
        <Pill {...(delivery.state === 'open' ? explainListed(delivery) : explainDelivery(delivery))} />
      </div>
      {delivery.reason !== null && (
        <p className="status-text">
          Reason: <code>{delivery.reason}</code>
        </p>
      )}
      <ol className="timeline">
        <li className="step step-calm">
          <span className="step-what">Received and stored</span>
          <span className="muted step-when">
            <Moment at={receivedAt} />
          </span>
        </li>
        {delivery.attempts.map((attempt) => (
          <Attempt key={attempt.number} attempt={attempt} />
        ))}
        {wait !== undefined && <NextAttempt {...wait} made={delivery.attempts.length} />}
      </ol>
    </li>
  )
}
