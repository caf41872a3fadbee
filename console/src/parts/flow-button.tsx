/** Pauses a destination, resumes it, or takes a disabled one into use again. */
import type { DestinationView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useFlow } from '../destination-queries.ts'

export function FlowButton({
  destination,
}: {
  destination: Pick<DestinationView, 'id' | 'name' | 'state'>
}): ReactNode {
  const flow = useFlow(destination.id)
  const to = destination.state === 'active' ? 'pause' : 'resume'
  const label = { active: 'Pause', paused: 'Resume', disabled: 'Take into use again' }[destination.state]
  return (
    <>
      <button
        type="button"
        disabled={flow.isPending}
        aria-label={`${label}: ${destination.name}`}
        onClick={() => flow.mutate(to)}
      >
        {label}
      </button>
      {flow.isError && (
        <p role="alert" className="text-bad">
          {flow.error.message}
        </p>
      )}
    </>
  )
}
