/** One delivery: where it stands, what each attempt met, and the retry of a dead one. */
import type { DeliveryDetail } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { ApiError, type Session } from '../api.ts'
import { useDelivery, useRetry } from '../delivery-queries.ts'
import { explainEnd, explainListed, explainWait } from '../delivery-sentences.ts'
import { NextAttempt } from '../parts/attempt.tsx'
import { AttemptStep } from '../parts/attempt-step.tsx'
import { Icon } from '../parts/icons.tsx'
import { Moment } from '../parts/moment.tsx'
import { Failure, Loading, Notice } from '../parts/notice.tsx'
import { Pill } from '../parts/pill.tsx'
import { Link, PageHeading } from '../router.tsx'
import { explainDelivery } from '../sentences.ts'

export function DeliveryPage({ id, session }: { id: string; session: Session }): ReactNode {
  const delivery = useDelivery(id)
  const gone = delivery.error instanceof ApiError && [400, 404].includes(delivery.error.status)
  const admin = session.role === 'admin'
  return (
    <>
      <Link className="back" to={admin ? '/deliveries' : '/events'}>
        <Icon name="back" />
        {admin ? 'All deliveries' : 'All events'}
      </Link>
      {delivery.isPending && (
        <>
          <PageHeading>Delivery</PageHeading>
          <Loading what="the delivery" />
        </>
      )}
      {delivery.data !== undefined && <Detail delivery={delivery.data} admin={admin} />}
      {delivery.isError && delivery.data === undefined && gone && (
        <Notice>
          <PageHeading>This delivery is not here</PageHeading>
          <p>It does not exist, belongs to somebody else, or is older than what is kept.</p>
        </Notice>
      )}
      {delivery.isError && delivery.data === undefined && !gone && (
        <Failure
          heading
          title="The delivery could not be loaded"
          error={delivery.error}
          retry={delivery.refetch}
        />
      )}
    </>
  )
}

function Detail({ delivery, admin }: { delivery: DeliveryDetail; admin: boolean }): ReactNode {
  const wait = explainWait(delivery)
  const end = explainEnd(delivery.reason)
  return (
    <>
      <div className="event-head">
        <div className="grow">
          <PageHeading>To {delivery.destination_name}</PageHeading>
          <p className="muted">
            {delivery.event_kept ? (
              <Link to={`/events/${delivery.event_id}`}>Its event</Link>
            ) : (
              'Its event is older than what is kept'
            )}
            {admin && (
              <>
                {' · '}
                <Link to={`/destinations/${delivery.destination_id}`}>Its destination</Link>
              </>
            )}
          </p>
        </div>
        <span role="status">
          <Pill {...(delivery.state === 'open' ? explainListed(delivery) : explainDelivery(delivery))} />
        </span>
      </div>
      {end !== undefined && delivery.state !== 'delivered' && (
        <Notice tone={delivery.state === 'dead' ? 'bad' : 'calm'}>
          <p>{end}</p>
        </Notice>
      )}
      {admin && <Retry delivery={delivery} />}
      <section aria-labelledby="attempts">
        <h2 id="attempts">Attempts</h2>
        {delivery.attempts.length === 0 && wait === undefined && (
          <Notice>
            <p>Nothing was sent, or its attempts are older than what is kept.</p>
          </Notice>
        )}
        <ol className="card timeline attempts">
          {delivery.attempts.map((attempt) => (
            <AttemptStep key={attempt.number} attempt={attempt} />
          ))}
          {wait !== undefined && <NextAttempt {...wait} made={delivery.attempts.length} />}
        </ol>
      </section>
      <section aria-labelledby="about">
        <h2 id="about">About this delivery</h2>
        <dl className="card about">
          <div>
            <dt>webhook-id</dt>
            <dd>
              <code>{delivery.event_id}</code>
            </dd>
          </div>
          <div>
            <dt>Delivery id</dt>
            <dd>
              <code>{delivery.id}</code>
            </dd>
          </div>
          {delivery.finished_at !== null && (
            <div>
              <dt>{delivery.state === 'dead' ? 'Died' : 'Finished'}</dt>
              <dd>
                <Moment at={delivery.finished_at} far />
              </dd>
            </div>
          )}
        </dl>
      </section>
    </>
  )
}

function Retry({ delivery }: { delivery: DeliveryDetail }): ReactNode {
  const retry = useRetry()
  // what has died again can be retried again
  if (delivery.state === 'open' && retry.data !== undefined)
    return (
      <p role="status" className="hint">
        {retry.data.retried ? 'It is on its way again.' : 'It was on its way again already.'}
      </p>
    )
  if (delivery.state !== 'dead') return null
  return (
    <div className="actions">
      <button
        type="button"
        className="primary"
        disabled={retry.isPending}
        onClick={() => retry.mutate(delivery.id)}
      >
        {retry.isPending ? 'Asking…' : 'Retry this delivery'}
      </button>
      {retry.isError && (
        <p role="alert" className="text-bad">
          {retry.error.message}
        </p>
      )}
    </div>
  )
}
