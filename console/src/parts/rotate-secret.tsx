/** Replaces a destination's signing secret; for an overlap both sign, so that the receiver can change when it likes. */
import type { DestinationView } from '@flovify/client/wire'
import { type ReactNode, useState } from 'react'
import { useRotate } from '../destination-queries.ts'
import { Moment } from './moment.tsx'
import { SecretOnce } from './secret-once.tsx'

const OVERLAPS = [
  [0, 'none: the old secret ends now'],
  [3_600, 'an hour'],
  [86_400, 'a day'],
  [604_800, 'a week'],
] as const

export function RotateSecret({ destination }: { destination: DestinationView }): ReactNode {
  const rotate = useRotate(destination.id)
  const [overlap, setOverlap] = useState(86_400)
  const until = destination.previous_secret_until
  const running = until !== null && new Date(until).getTime() > Date.now()
  return (
    <div className="card panel">
      {rotate.data !== undefined && (
        <SecretOnce key={rotate.data.secret} secret={rotate.data.secret}>
          <p>
            This is the new secret. It is shown this once: give it to the receiver now.
            {rotate.data.previous_secret_until !== null && (
              <>
                {' '}
                Until <Moment at={rotate.data.previous_secret_until} day far /> the old one signs too.
              </>
            )}
          </p>
        </SecretOnce>
      )}
      {running && rotate.data === undefined && (
        <p>
          The secret before signs too until <Moment at={until} day far />. Another rotation now ends it.
        </p>
      )}
      <p>
        Every request is signed (Standard Webhooks). A new secret takes effect at once; during the overlap
        each request carries both signatures.
      </p>
      <div className="actions">
        <label className="inline">
          Overlap
          <select value={overlap} onChange={(event) => setOverlap(Number(event.target.value))}>
            {OVERLAPS.map(([seconds, label]) => (
              <option key={seconds} value={seconds}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          disabled={rotate.isPending}
          onClick={() =>
            rotate.mutate({ overlap_seconds: overlap, ...(running && { replace_running: true }) })
          }
        >
          {rotate.isPending ? 'Making it…' : 'Make a new secret'}
        </button>
      </div>
      {rotate.isError && (
        <p role="alert" className="text-bad">
          {rotate.error.message}
        </p>
      )}
    </div>
  )
}
