/**
 * Patterns of event types in rules: dotted words without prefix and version (`mail.mailbox.notified`), with `*` as last
 * segments only (`mail.*`). Matching walks the segments once; there is no regular expression and no backtracking, so a
 * pattern cannot be made slow.
 */

export interface TypePattern {
  matches(segments: readonly string[]): boolean
}

const MAX_LENGTH = 128
const MAX_SEGMENTS = 8
const ANY = '*'

/** @returns undefined for what is no pattern; a pattern with a version is none */
export function compilePattern(text: string): TypePattern | undefined {
  if (text.length === 0 || text.length > MAX_LENGTH) return undefined
  const segments = text.split('.')
  if (segments.length > MAX_SEGMENTS) return undefined
  const star = segments.indexOf(ANY)
  const words = star === -1 ? segments : segments.slice(0, star)
  const stars = segments.length - words.length
  if (!words.every(isWord) || words.some(isVersion)) return undefined
  if (!segments.slice(words.length).every((segment) => segment === ANY)) return undefined
  return {
    // `mail.*` means everything in mail, however deep: n stars stand for n or more segments.
    matches: (type) =>
      (stars === 0 ? type.length === words.length : type.length >= words.length + stars) &&
      words.every((word, index) => word === type[index]),
  }
}

/** The segments of an event type, version left out: `mail.mailbox.v1.notified` → mail, mailbox, notified. */
export function typeSegments(type: string): readonly string[] {
  return type.split('.').filter((segment) => !isVersion(segment))
}

function isVersion(segment: string): boolean {
  if (segment.length < 2 || segment[0] !== 'v') return false
  for (let i = 1; i < segment.length; i += 1) if (!isDigit(segment.charCodeAt(i))) return false
  return true
}

function isWord(segment: string): boolean {
  if (segment.length === 0) return false
  for (let i = 0; i < segment.length; i += 1) {
    const code = segment.charCodeAt(i)
    if (!(isDigit(code) || (code >= 97 && code <= 122) || code === 95)) return false
  }
  return true
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}
