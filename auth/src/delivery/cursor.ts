/** A place in a list of events or deliveries, as one opaque word. It carries no authority: rows are filtered whatever it says. */
export interface Cursor {
  /** In ISO 8601 with microseconds. */
  readonly at: string
  /** Of the event or delivery; empty stands before all of that moment. */
  readonly id: string
}

const FORM = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z)\|((?:(?:evt|dlv)_[a-z2-7]{26})?)$/

export function cursorOf(cursor: Cursor): string {
  return Buffer.from(`${cursor.at}|${cursor.id}`, 'latin1').toString('base64url')
}

/** @returns undefined for anything that `cursorOf` did not make */
export function readCursor(text: string): Cursor | undefined {
  if (text.length > 128) return undefined
  const [, at, id] = FORM.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? []
  if (at === undefined || id === undefined || !isMoment(at)) return undefined
  return { at, id }
}

/** A day that exists, in a year that PostgreSQL has too: the text goes into SQL as it is. */
function isMoment(at: string): boolean {
  const time = new Date(at)
  return at >= '1970' && !Number.isNaN(time.getTime()) && time.toISOString().slice(0, 23) === at.slice(0, 23)
}
