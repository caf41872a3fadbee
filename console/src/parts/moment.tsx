/** A time as an element that machines can read, with the full date for those who look closer. */
import type { ReactNode } from 'react'
import { distance, fullTime, shortTime } from '../times.ts'

export function Moment({ at, far = false }: { at: string; far?: boolean }): ReactNode {
  const time = new Date(at)
  if (Number.isNaN(time.getTime())) return null
  const now = new Date()
  return (
    <time dateTime={at} title={fullTime(time)}>
      {shortTime(time, now)}
      {far && ` (${distance(time, now)})`}
    </time>
  )
}
