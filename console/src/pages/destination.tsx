/** One destination: how it is doing, how it is set, and what can be done with it. For administrators. */
import type { DestinationView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { ApiError } from '../api.ts'
import { useDestination, useHealth } from '../destination-queries.ts'
import { explainPlan, explainStanding, span } from '../destination-sentences.ts'
import { DeleteDestination } from '../parts/delete-destination.tsx'
import { FlowButton } from '../parts/flow-button.tsx'
import { HourCharts } from '../parts/hour-charts.tsx'
import { Icon } from '../parts/icons.tsx'
import { Moment } from '../parts/moment.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { RetryDead } from '../parts/retry-dead.tsx'
import { RotateSecret } from '../parts/rotate-secret.tsx'
import { SendTest } from '../parts/send-test.tsx'
import { Link, PageHeading } from '../router.tsx'
import { duration } from '../times.ts'

export function DestinationPage({ id }: { id: string }): ReactNode {
  const destination = useDestination(id)
  const gone = destination.error instanceof ApiError && [400, 404].includes(destination.error.status)
  return (
    <>
      <Link className="back" to="/destinations">
        <Icon name="back" />
        All destinations
      </Link>
      {destination.isPending && (
        <>
          <PageHeading>Destination</PageHeading>
          <Loading what="the destination" />
        </>
      )}
      {destination.data !== undefined && !gone && <Detail destination={destination.data} />}
      {destination.isError && gone && (
        <Notice>
          <PageHeading>This destination is not here</PageHeading>
          <p>It does not exist, or it was deleted.</p>
        </Notice>
      )}
      {destination.isError && destination.data === undefined && !gone && (
        <Failure
          heading
          title="The destination could not be loaded"
          error={destination.error}
          retry={destination.refetch}
        />
      )}
    </>
  )
}

function Detail({ destination }: { destination: DestinationView }): ReactNode {
  return (
    <>
      <Standing destination={destination} />
      <section aria-labelledby="test">
        <h2 id="test">Try it</h2>
        <SendTest destination={destination} />
      </section>
      <section aria-labelledby="settings">
        <div className="section-head">
          <h2 id="settings">Settings</h2>
          <Link className="button" to={`/destinations/${destination.id}/edit`}>
            Change
          </Link>
        </div>
        <Settings destination={destination} />
      </section>
      <section aria-labelledby="secret">
        <h2 id="secret">Signing secret</h2>
        <RotateSecret destination={destination} />
      </section>
      <section aria-labelledby="remove">
        <h2 id="remove">Delete</h2>
        <DeleteDestination destination={destination} />
      </section>
    </>
  )
}

function Standing({ destination }: { destination: DestinationView }): ReactNode {
  const health = useHealth(destination.id)
  const { label, tone, text } = explainStanding(destination, health.data)
  return (
    <>
      <div className="event-head">
        <div className="grow">
          <PageHeading>{destination.name}</PageHeading>
          <p className="muted destination-url">
            {destination.kind === 'n8n' ? 'n8n' : 'HTTP'} · <code>{destination.url}</code>
          </p>
        </div>
        <span role="status">
          <Pill label={label} tone={tone} />
        </span>
        <FlowButton destination={destination} />
      </div>
      {health.data?.held_until != null && (
        <Notice tone="calm">
          <p>
            The receiver asked to be left alone (<code>Retry-After</code>). Deliveries wait until{' '}
            <Moment at={health.data.held_until} far />.
          </p>
        </Notice>
      )}
      {text !== undefined && (
        <Notice tone={tone === 'bad' ? 'bad' : 'calm'}>
          <p>{text}</p>
          {health.data?.probe_at != null && (
            <p>
              Next single try: <Moment at={health.data.probe_at} far />
            </p>
          )}
        </Notice>
      )}
      {health.data !== undefined && (
        <div className="card destination">
          <HourCharts health={health.data} />
          <p className="counts">
            <Link to={`/deliveries?state=open&destination=${destination.id}`}>{health.data.open} open</Link>
            <Link to={`/deliveries?state=dead&destination=${destination.id}`}>{health.data.dead} dead</Link>
            <span className="muted">{health.data.in_flight} being sent</span>
            {health.data.oldest_due_seconds > 0 && (
              <span className="muted">the oldest has waited {span(health.data.oldest_due_seconds)}</span>
            )}
          </p>
          <RetryDead destination={destination.id} name={destination.name} />
        </div>
      )}
    </>
  )
}

function Settings({ destination }: { destination: DestinationView }): ReactNode {
  const rows: readonly (readonly [name: string, value: string | null])[] = [
    ['URL', destination.url],
    ['Test URL', destination.test_url],
    ['Headers', destination.header_names.length === 0 ? 'none' : destination.header_names.join(', ')],
    ['At once', String(destination.concurrency)],
    [
      'A second',
      destination.rate_per_second === null ? 'as fast as it answers' : String(destination.rate_per_second),
    ],
    ['Timeout', duration(destination.timeout_ms)],
    ['Retries', explainPlan(destination.retry_schedule)],
    ['Retried statuses', destination.retry_statuses?.join(', ') ?? 'all that are not 2xx'],
    [
      'Certificate authority',
      destination.ca === null ? 'the public ones' : 'a private one, for this destination alone',
    ],
  ]
  return (
    <dl className="card about">
      {rows.map(([name, value]) =>
        value === null ? null : (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  )
}
