/** One attempt in a timeline: when, what came back, why it failed, how long each phase took, and the answer as text. */
import type { AttemptDetail } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { explainAttempt } from '../delivery-sentences.ts'
import { Attempt } from './attempt.tsx'
import { Phases } from './phases.tsx'

export function AttemptStep({ attempt }: { attempt: AttemptDetail }): ReactNode {
  const why = explainAttempt(attempt)
  return (
    <Attempt attempt={attempt}>
      <div className="step-more">
        {why !== undefined && <p>{why}</p>}
        <Phases phases={attempt.phases} />
        <Answer attempt={attempt} />
      </div>
    </Attempt>
  )
}

/** As it came, redacted by the service: text, never markup. */
function Answer({ attempt }: { attempt: AttemptDetail }): ReactNode {
  const headers = Object.entries(attempt.response_headers ?? {})
  const body = attempt.response_body ?? ''
  if (headers.length === 0 && body === '') return null
  return (
    <details>
      <summary>What it answered to attempt {attempt.number}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <pre className="payload answer" tabIndex={0}>
        {headers.map(([name, value]) => `${name}: ${[value].flat().join(', ')}\n`).join('')}
        {body !== '' && `\n${body}`}
      </pre>
    </details>
  )
}
