/** Retries everything that died at one destination: the count is asked and shown first, and confirmed. */
import { type ReactNode, useState } from 'react'
import { useCountDead, useRetryDead } from '../delivery-queries.ts'

/** Longer than it takes most of them to be on their way, and to be counted anew. */
const TOLD_MS = 15_000

export function RetryDead({ destination, name }: { destination: string; name: string }): ReactNode {
  const dead = useCountDead(destination)
  const retry = useRetryDead(destination)
  // made when the confirmation opens: pressing twice is one retry
  const [asked, setAsked] = useState<{ count: number; key: string }>()
  const count = dead.data?.count ?? 0
  // said for a while only: what dies again can be retried again
  if (retry.data !== undefined && dead.dataUpdatedAt - retry.submittedAt < TOLD_MS)
    return (
      <p role="status" className="retry-dead">
        {retry.data.expected === 1 ? 'One delivery is' : `${retry.data.expected} deliveries are`} on the way
        again, behind what arrives now and no faster than the destination allows.
      </p>
    )
  if (count === 0 && asked === undefined) return null
  if (asked === undefined)
    return (
      <p className="actions retry-dead">
        <button type="button" onClick={() => setAsked({ count, key: newKey() })}>
          Retry all {count} dead
        </button>
      </p>
    )
  const stop = (): void => {
    setAsked(undefined)
    retry.reset()
    void dead.refetch()
  }
  return (
    <div className="card panel retry-dead" role="alertdialog" aria-label="Retry all">
      <p>
        {asked.count === 1 ? 'One dead delivery' : `${asked.count} dead deliveries`} to{' '}
        <strong>{name}</strong> will be sent again. The receiver may see some of them a second time: their
        webhook-id stays the same.
      </p>
      {retry.isError && (
        <p role="alert" className="text-bad">
          {retry.error.message}
        </p>
      )}
      <div className="actions">
        <button type="button" className="quiet" onClick={stop}>
          {retry.isError ? 'Count again' : 'Not now'}
        </button>
        <button
          type="button"
          className="primary"
          disabled={retry.isPending}
          onClick={() =>
            retry.mutate(
              { expected_count: asked.count, idempotency_key: asked.key },
              { onSuccess: () => setAsked(undefined) },
            )
          }
        >
          {retry.isPending ? 'Asking…' : `Retry ${asked.count === 1 ? 'it' : `all ${asked.count}`}`}
        </button>
      </div>
    </div>
  )
}

const newKey = (): string => crypto.randomUUID()
