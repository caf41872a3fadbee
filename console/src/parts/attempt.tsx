/** Steps of a delivery's timeline: an attempt that was made, and the one that is to come. */
import type { AttemptView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { duration } from '../times.ts'
import { Moment } from './moment.tsx'

export function Attempt(props: { readonly attempt: AttemptView; readonly children?: ReactNode }): ReactNode {
  const { attempt, children } = props
  const good = attempt.outcome === 'delivered'
  return (
    <li className={`step step-${good ? 'good' : 'bad'}`}>
      <span className="step-what">
        Attempt {attempt.number}: {good ? 'delivered' : 'failed'}
        <span className="step-detail">
          {attempt.status !== null && <code>HTTP {attempt.status}</code>}
          <span className="muted">{duration(attempt.duration_ms)}</span>
          {attempt.error !== null && <code>{attempt.error}</code>}
        </span>
      </span>
      <span className="muted step-when">
        <Moment at={attempt.started_at} />
      </span>
      {children}
    </li>
  )
}

interface NextAttemptProps {
  /** Absent: nobody knows when. */
  readonly at?: string | undefined
  /** How many there were before. */
  readonly made: number
  /** What it waits for. */
  readonly text?: string | undefined
}

export function NextAttempt({ at, made, text }: NextAttemptProps): ReactNode {
  return (
    <li className="step step-busy">
      <span className="step-what">{made === 0 ? 'First attempt' : 'Next attempt'}</span>
      {at !== undefined && (
        <span className="muted step-when">
          <Moment at={at} far />
        </span>
      )}
      {text !== undefined && <p className="step-more">{text}</p>}
    </li>
  )
}
