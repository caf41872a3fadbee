/** Times for people, in their zone: exact where order matters, relative where distance matters. Pure. */

const CLOCK = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const DAY = new Intl.DateTimeFormat('en', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
})
const FULL = new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'long' })
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** `14:03:22` today, `Nov 23, 14:03` on another day. */
export function shortTime(time: Date, now: Date): string {
  return time.toDateString() === now.toDateString() ? CLOCK.format(time) : DAY.format(time)
}

/** `Nov 23, 14:03`, also today: for what does not change by the second. */
export function dayTime(time: Date): string {
  return DAY.format(time)
}

export function fullTime(time: Date): string {
  return FULL.format(time)
}

/** `in 3 days`, `2 hours ago`. */
export function distance(time: Date, now: Date): string {
  const seconds = (time.getTime() - now.getTime()) / 1000
  const size = Math.abs(seconds)
  if (size < 60) return RELATIVE.format(Math.round(seconds), 'second')
  if (size < 3600) return RELATIVE.format(Math.round(seconds / 60), 'minute')
  if (size < 86_400) return RELATIVE.format(Math.round(seconds / 3600), 'hour')
  return RELATIVE.format(Math.round(seconds / 86_400), 'day')
}

/** `84 ms`, `1.2 s`. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}
