/** Sends an example event, signed like all others, and explains the answer. */
import type { DestinationTest, DestinationView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { useTest } from '../destination-queries.ts'
import { Phases } from './phases.tsx'
import { Pill } from './pill.tsx'

export function SendTest({ destination }: { destination: DestinationView }): ReactNode {
  const test = useTest(destination.id)
  return (
    <div className="card panel">
      <p>An example event is sent now, signed like all others. It is not stored and no rule sees it.</p>
      <div className="actions">
        <button type="button" disabled={test.isPending} onClick={() => test.mutate('production')}>
          {test.isPending ? 'Sending…' : 'Send a test event'}
        </button>
        {destination.test_url !== null && (
          <button type="button" disabled={test.isPending} onClick={() => test.mutate('test')}>
            Send it to the test URL
          </button>
        )}
      </div>
      <div role="status">{test.data !== undefined && <Answer answer={test.data} />}</div>
      {test.isError && (
        <p role="alert" className="text-bad">
          {test.error.message}
        </p>
      )}
    </div>
  )
}

function Answer({ answer }: { answer: DestinationTest }): ReactNode {
  const headers = Object.entries(answer.headers)
  return (
    <div className="test-answer">
      <p className="test-outcome">
        <Pill {...(answer.delivered ? DELIVERED : FAILED)} />
        {answer.status !== null && <code>HTTP {answer.status}</code>}
        {answer.error !== null && <code>{answer.error}</code>}
      </p>
      <p>{answer.explanation}</p>
      <Phases phases={{ ...answer.phases }} />
      {(headers.length > 0 || answer.body !== '') && (
        <details>
          <summary>What it answered</summary>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
          <pre className="payload answer" tabIndex={0}>
            {headers.map(([name, value]) => `${name}: ${[value].flat().join(', ')}\n`).join('')}
            {answer.body !== '' && `\n${answer.body}`}
          </pre>
        </details>
      )}
    </div>
  )
}

const DELIVERED = { label: 'Delivered', tone: 'good' } as const
const FAILED = { label: 'Not delivered', tone: 'bad' } as const
