/** The last hour of a destination as two small charts, a bar for each minute, with the same said in words. */
import type { DestinationHealth } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { explainHour } from '../destination-sentences.ts'
import { duration } from '../times.ts'

const HEIGHT = 28
const STEP = 3

export function HourCharts({ health }: { health: DestinationHealth }): ReactNode {
  const { minutes } = health.last_hour
  const most = Math.max(1, ...minutes.map((one) => one.delivered + one.failed))
  const slowest = Math.max(1, ...minutes.map((one) => one.p95_ms ?? 0))
  const width = minutes.length * STEP
  return (
    <div className="charts">
      <figure>
        <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {minutes.map((one, index) => {
            const good = (one.delivered / most) * HEIGHT
            const bad = (one.failed / most) * HEIGHT
            return (
              <g key={one.at}>
                <rect
                  className="bar-good"
                  x={index * STEP}
                  y={HEIGHT - good}
                  width={STEP - 1}
                  height={good}
                />
                <rect
                  className="bar-bad"
                  x={index * STEP}
                  y={HEIGHT - good - bad}
                  width={STEP - 1}
                  height={bad}
                />
              </g>
            )
          })}
        </svg>
        <figcaption>Attempts a minute, at most {most === 1 ? 'one' : most}</figcaption>
      </figure>
      <figure>
        <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {minutes.map((one, index) => {
            const height = ((one.p95_ms ?? 0) / slowest) * HEIGHT
            return (
              <rect
                key={one.at}
                className="bar-calm"
                x={index * STEP}
                y={HEIGHT - height}
                width={STEP - 1}
                height={height}
              />
            )
          })}
        </svg>
        <figcaption>95th percentile, at most {duration(slowest)}</figcaption>
      </figure>
      <p className="charts-words">Last hour: {explainHour(health)}.</p>
    </div>
  )
}
