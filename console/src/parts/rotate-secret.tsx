/**
 * Replaces a destination's signing secret; for an overlap both sign, so that the receiver can change when it likes. What
 * ends the earlier secret before its time is asked for by itself: pressing twice is one rotation.
 */
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
  const [asking, setAsking] = useState(false)
  const asked = asking && running
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
          The secret before signs too until <Moment at={until} day far />. Another rotation ends it at once.
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
        {!asked && (
          <button
            type="button"
            disabled={rotate.isPending}
            onClick={({ detail }) => {
              // the second press of a double click
              if (detail > 1) return
              if (running) setAsking(true)
              else rotate.mutate({ overlap_seconds: overlap })
            }}
          >
            {rotate.isPending ? 'Making it…' : running ? 'Make another secret' : 'Make a new secret'}
          </button>
        )}
      </div>
      {asked && (
        <div role="alertdialog" aria-label="Make another secret">
          <p>
            This ends the earlier secret at once. A receiver that still checks with it refuses everything
            until it has the newer one.
          </p>
          <div className="actions">
            <button type="button" className="quiet" onClick={() => setAsking(false)}>
              Keep both
            </button>
            <button
              type="button"
              className="destructive"
              disabled={rotate.isPending}
              onClick={() => {
                // gone before a second press: that it is under way is only shown a moment later
                setAsking(false)
                rotate.mutate({ overlap_seconds: overlap, replace_running: true })
              }}
            >
              End it and make another
            </button>
          </div>
        </div>
      )}
      {rotate.isError && (
        <p role="alert" className="text-bad">
          {rotate.error.message}
        </p>
      )}
    </div>
  )
}
