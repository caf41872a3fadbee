/** How long what grows is kept, read from the configuration. Pure. */

export interface RetentionDays {
  /** Events, attempts, finished deliveries. A day of events that an open or dead delivery needs is kept longer. */
  readonly events: number
  /** Requests as they arrived: headers and body. */
  readonly bodies: number
  /** Nothing holds a day longer than this; deliveries that still wait for it expire. */
  readonly hardLimit: number
}

const MOST = 3650

/** @param text a variable's value, undefined when it is not set @param wrong notes a mistake */
export function readRetention(
  text: (name: string) => string | undefined,
  wrong: (sentence: string) => undefined,
): RetentionDays {
  const days = (name: string, least: number, fallback: number) => {
    const value = text(name)
    if (value === undefined) return fallback
    const number = /^\d{1,4}$/.test(value) ? Number(value) : Number.NaN
    if (number >= least && number <= MOST) return number
    wrong(`${name} must be a number of days from ${least} to ${MOST}`)
    return fallback
  }
  const events = days('RETENTION_DAYS', 2, 30)
  const bodies = days('BODY_RETENTION_DAYS', 2, Math.min(events, 30))
  const hardLimit = days('RETENTION_HARD_LIMIT_DAYS', 2, Math.min(MOST, events * 3))
  if (bodies > events) wrong('BODY_RETENTION_DAYS must not be more than RETENTION_DAYS')
  if (hardLimit < events) wrong('RETENTION_HARD_LIMIT_DAYS must not be less than RETENTION_DAYS')
  return { events, bodies, hardLimit }
}
