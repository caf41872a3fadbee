/**
 * Reads the settings of one provider from environment variables and collects every mistake, so that an operator
 * repairs all of them in one go. It never puts a value into a mistake: a secret pasted into the wrong variable
 * must not reach a log. It knows no provider.
 */
import type { Environment } from './provider.ts'
import { Secret } from './secret.ts'

export interface SettingReader {
  readonly mistakes: readonly string[]
  /** @returns the trimmed value; `undefined` and `''` both mean "not set". */
  text(name: string): string | undefined
  /** A value of a known shape. A wrong one is a mistake and reads as the fallback. */
  shaped(name: string, fallback: string, shape: RegExp, expected: string): string
  shapedOrNone(name: string, shape: RegExp, expected: string): string | undefined
  /** Values of a known shape, separated by commas; undefined for none. */
  shapedList(name: string, shape: RegExp, expected: string): readonly string[] | undefined
  /** Base of a URL without the slash at its end; plain http only on loopback in local mode. */
  baseUrl(name: string, fallback: string): string
  /** A secret that must be there because `because` is set. */
  requiredSecret(name: string, because: string): Secret
  /** A secret that may be absent; when present it has at least `minimumBytes` bytes. */
  optionalSecret(name: string, minimumBytes: number): Secret | undefined
  /** A day of the calendar (its beginning, UTC) or a moment in UTC, ISO 8601. */
  date(name: string): Date | undefined
  /** Some of the allowed words, separated by commas; all of them unless set, none for `none`. */
  choices(name: string, allowed: readonly string[]): readonly string[]
  mistake(sentence: string): void
}

export function readerOf(environment: Environment, mode: 'production' | 'local'): SettingReader {
  const mistakes: string[] = []
  const text = (name: string): string | undefined => {
    const value = environment[name]?.trim()
    return value === undefined || value === '' ? undefined : value
  }
  const shapedOrNone = (name: string, shape: RegExp, expected: string): string | undefined => {
    const value = text(name)
    if (value === undefined || shape.test(value)) return value
    mistakes.push(`${name} is not ${expected}.`)
    return undefined
  }
  return {
    mistakes,
    text,
    shapedOrNone,
    shapedList(name, shape, expected) {
      const values = text(name)
        ?.split(',')
        .map((value) => value.trim())
      if (values === undefined || values.every((value) => shape.test(value))) return values
      mistakes.push(`${name} is not ${expected}, or several of them separated by commas.`)
      return undefined
    },
    shaped: (name, fallback, shape, expected) => shapedOrNone(name, shape, expected) ?? fallback,
    baseUrl(name, fallback) {
      const value = text(name)
      if (value === undefined) return fallback
      const problem = problemOfBaseUrl(value, mode)
      if (problem !== undefined) {
        mistakes.push(`${name} ${problem}`)
        return fallback
      }
      return value.replace(/\/+$/, '')
    },
    requiredSecret(name, because) {
      const value = text(name)
      if (value === undefined) mistakes.push(`${name} is missing: ${because} is set, so set ${name} as well.`)
      return new Secret(value ?? '')
    },
    optionalSecret(name, minimumBytes) {
      const value = text(name)
      if (value === undefined) return undefined
      if (Buffer.byteLength(value) < minimumBytes) {
        mistakes.push(`${name} is too short: use at least ${minimumBytes} random bytes.`)
      }
      return new Secret(value)
    },
    date(name) {
      const value = text(name)
      if (value === undefined) return undefined
      const date = dateOf(value)
      if (date === undefined)
        mistakes.push(`${name} is not a date: write it as 2027-03-31 or 2027-03-31T12:00:00Z.`)
      return date
    },
    choices(name, allowed) {
      const value = text(name)
      if (value === undefined) return allowed
      if (value === 'none') return []
      const chosen = value.split(',').map((word) => word.trim())
      if (!chosen.every((word) => allowed.includes(word)))
        mistakes.push(`${name} is wrong: write some of ${allowed.join(', ')}, separated by commas, or none.`)
      return chosen
    },
    mistake: (sentence) => {
      mistakes.push(sentence)
    },
  }
}

function problemOfBaseUrl(value: string, mode: 'production' | 'local'): string | undefined {
  if (!URL.canParse(value)) return 'is not a URL.'
  const url = new URL(value)
  if (url.username !== '' || url.password !== '') return 'must not carry a user name or password.'
  if (value.includes('?') || value.includes('#')) return 'must not carry a query or a fragment.'
  if (url.protocol === 'https:') return undefined
  if (url.protocol !== 'http:') return 'must begin with https://.'
  if (mode === 'local' && isLoopback(url.hostname)) return undefined
  return 'must begin with https:// (plain http is allowed only for loopback in local mode).'
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname)
}

function dateOf(value: string): Date | undefined {
  const shape = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}(?::\d{2})?(?:\.\d{1,3})?)Z)?$/.exec(value)
  const day = shape?.[1]
  if (day === undefined) return undefined
  const date = new Date(value)
  // the 30th of February would silently become a day of March
  return Number.isNaN(date.getTime()) || !date.toISOString().startsWith(day) ? undefined : date
}
