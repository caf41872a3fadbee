/** A time as an element that machines can read, with the full date for those who look closer. */
import type { ReactNode } from 'react'
import { dayTime, distance, fullTime, shortTime } from '../times.ts'

/** @param far adds the distance from now; `day` names the day always */
export function Moment({
  at,
  far = false,
  day = false,
}: {
  at: string
  far?: boolean
  day?: boolean
}): ReactNode {
  const time = new Date(at)
  if (Number.isNaN(time.getTime())) return null
  const now = new Date()
  return (
    <time dateTime={at} title={fullTime(time)}>
      {day ? dayTime(time) : shortTime(time, now)}
      {far && ` (${distance(time, now)})`}
    </time>
  )
}
