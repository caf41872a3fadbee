/** How long each phase of a request took: a bar for the eye, and the same in words. */
import type { ReactNode } from 'react'
import { phasesOf } from '../delivery-sentences.ts'
import { duration } from '../times.ts'

const WIDTH = 100

export function Phases({
  phases,
}: {
  phases: Readonly<Record<string, number | undefined>> | null | undefined
}): ReactNode {
  const steps = phasesOf(phases ?? {})
  const total = steps.reduce((sum, { ms }) => sum + ms, 0)
  if (total <= 0) return null
  let at = 0
  return (
    <div className="phases">
      <svg viewBox={`0 0 ${WIDTH} 6`} preserveAspectRatio="none" aria-hidden="true">
        {steps.map(({ label, ms }, index) => {
          const x = at
          const width = (ms / total) * WIDTH
          at += width
          return <rect key={label} className={`phase-${index % 5}`} x={x} y={0} width={width} height={6} />
        })}
      </svg>
      <ul>
        {steps.map(({ label, ms }, index) => (
          <li key={label}>
            <span className={`phase-dot phase-${index % 5}`} aria-hidden="true" />
            {label} {duration(ms)}
          </li>
        ))}
      </ul>
    </div>
  )
}
