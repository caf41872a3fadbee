/** Deletes a destination, after it has been said what that does. */
import type { DestinationView } from '@flovify/client/wire'
import { type ReactNode, useState } from 'react'
import { useHealth, useRemove } from '../destination-queries.ts'
import { navigate } from '../router.tsx'

export function DeleteDestination({ destination }: { destination: DestinationView }): ReactNode {
  const health = useHealth(destination.id)
  const remove = useRemove(destination.id)
  const [asking, setAsking] = useState(false)
  const waiting = (health.data?.open ?? 0) + (health.data?.dead ?? 0)
  if (!asking)
    return (
      <div className="card panel">
        <div className="actions">
          <button type="button" className="danger" onClick={() => setAsking(true)}>
            Delete this destination
          </button>
        </div>
      </div>
    )
  return (
    <div className="card panel" role="alertdialog" aria-label="Delete this destination">
      <p>
        <strong>{destination.name}</strong> receives nothing any more, and its rules are switched off.{' '}
        {waiting === 0
          ? 'Nothing is waiting for it.'
          : `${waiting === 1 ? 'One delivery that waits or is dead ends' : `${waiting} deliveries that wait or are dead end`} as cancelled, and can be seen as that.`}{' '}
        This cannot be undone. To hold its deliveries instead, pause it.
      </p>
      {remove.isError && (
        <p role="alert" className="text-bad">
          {remove.error.message}
        </p>
      )}
      <div className="actions">
        <button type="button" className="quiet" onClick={() => setAsking(false)}>
          Keep it
        </button>
        <button
          type="button"
          className="destructive"
          disabled={remove.isPending}
          onClick={() => remove.mutate(undefined, { onSuccess: () => navigate('/destinations') })}
        >
          {remove.isPending ? 'Deleting…' : 'Delete it'}
        </button>
      </div>
    </div>
  )
}
