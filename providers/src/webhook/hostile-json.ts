/**
 * Reads JSON that an enemy may have written: strict UTF-8, at most 64 levels, no `__proto__`, `constructor` or
 * `prototype` keys, no duplicate keys, no numbers that overflow, lone surrogates replaced by U+FFFD, NUL kept.
 * One linear pass over the text decides before `JSON.parse` runs. It never throws and never changes a prototype.
 * The size is capped by the door; 1 MiB of anything costs well under 100 ms (security.md WI-10).
 */
import type { Json, JsonObject } from '../provider.ts'

const DEPTH_LIMIT = 64
/** A set entry per key is what costs: 1 MiB holds at most 200,000 keys; a batch of 1,000 items has 20,000. */
const KEY_LIMIT = 50_000
/** No provider writes keys with escapes, and each has to be read by itself. */
const ESCAPED_KEY_LIMIT = 1_000
/** The longest 64-bit double with 17 digits, sign and exponent has 24 characters. */
const NUMBER_LIMIT = 64
const REFUSED_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

export type JsonReading =
  | { readonly kind: 'json'; readonly value: Json; readonly text: string }
  | { readonly kind: 'bad'; readonly reason: BadJsonReason }

export type BadJsonReason =
  | 'bad_utf8'
  | 'bad_json'
  | 'too_deep'
  | 'refused_key'
  | 'duplicate_key'
  | 'bad_number'
  | 'too_many_keys'

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function readHostileJson(bytes: Uint8Array): JsonReading {
  let text: string
  try {
    text = UTF8.decode(bytes)
  } catch {
    return { kind: 'bad', reason: 'bad_utf8' }
  }
  const reason = objectionTo(text)
  if (reason !== undefined) return { kind: 'bad', reason }
  try {
    const value = JSON.parse(text) as Json
    return { kind: 'json', value: SURROGATE_ESCAPE.test(text) ? wellFormed(value) : value, text }
  } catch {
    return { kind: 'bad', reason: 'bad_json' }
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

/** @returns the own member, never something inherited. */
export function member(value: Json | undefined, name: string): Json | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
}

export function textMember(value: Json | undefined, name: string): string | undefined {
  const found = member(value, name)
  return typeof found === 'string' ? found : undefined
}

/**
 * The pass before the parser. It need not judge grammar (JSON.parse does): it only has to agree with it about
 * where strings, keys, numbers and brackets are whenever the text is valid.
 */
function objectionTo(text: string): BadJsonReason | undefined {
  const levels: (Set<string> | null | undefined)[] = []
  let keyExpected = false
  let keys = 0
  let escapedKeys = 0
  let at = 0
  while (at < text.length) {
    const unit = text.charCodeAt(at)
    if (unit === QUOTE) {
      const end = endOfString(text, at)
      if (end === -1) return 'bad_json'
      if (keyExpected) {
        keyExpected = false
        if (++keys > KEY_LIMIT) return 'too_many_keys'
        const raw = text.slice(at + 1, end)
        const isEscaped = raw.includes('\\')
        if (isEscaped && ++escapedKeys > ESCAPED_KEY_LIMIT) return 'too_many_keys'
        const key = isEscaped ? readText(text.slice(at, end + 1)) : raw
        if (key === undefined) return 'bad_json'
        if (REFUSED_KEYS.has(key) || !key.isWellFormed()) return 'refused_key'
        const seen = levels[levels.length - 1] ?? new Set<string>()
        if (seen.has(key)) return 'duplicate_key'
        seen.add(key)
        levels[levels.length - 1] = seen
      }
      at = end + 1
    } else if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
      if (levels.length === DEPTH_LIMIT) return 'too_deep'
      keyExpected = unit === OPEN_OBJECT
      // null: an object without a key yet; undefined: an array.
      levels.push(keyExpected ? null : undefined)
      at += 1
    } else if (unit === CLOSE_OBJECT || unit === CLOSE_ARRAY) {
      levels.pop()
      keyExpected = false
      at += 1
    } else if (unit === COMMA) {
      keyExpected = levels.length > 0 && levels[levels.length - 1] !== undefined
      at += 1
    } else if (unit === MINUS || (unit >= ZERO && unit <= NINE)) {
      const end = endOfNumber(text, at)
      if (end - at > NUMBER_LIMIT || !Number.isFinite(Number(text.slice(at, end)))) return 'bad_number'
      at = end
    } else {
      at += 1
    }
  }
  return undefined
}

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Jumps from quote to quote: nearly every string is without an escape, and its letters need no look. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH && at - 1 - escapes > start) escapes += 1
    if (escapes % 2 === 0) return at
  }
  return -1
}

function endOfNumber(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && '0123456789+-.eE'.includes(text.charAt(at)) && at - start <= NUMBER_LIMIT)
    at += 1
  return at
}

function readText(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted) as string
  } catch {
    return undefined
  }
}

/** Strict UTF-8 has no surrogates of its own, so a lone one can only come from an escape: `\ud800`. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/

/** At most 64 levels deep, so recursion is safe. Keys are well formed already. */
function wellFormed(value: Json): Json {
  if (typeof value === 'string') return value.toWellFormed()
  if (isArray(value)) return value.map(wellFormed)
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, wellFormed(inner)]))
}
