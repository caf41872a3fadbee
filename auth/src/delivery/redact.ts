/**
 * Takes secrets out of what a receiver answered before it is stored or shown: a receiver that echoes its request would
 * otherwise write our signing secret or its own password into the history. What we know is replaced wherever it stands,
 * plain or in base64, and however its characters are escaped (JSON, HTML, percent-encoding); what only looks like a
 * credential is replaced too. It never lets more through than it was given.
 */
import type { Secret } from '@flovify/providers'

const REPLACEMENT = '[redacted]'
/** Shorter ones would blank out ordinary words; headers that short are no secrets. */
const SHORTEST = 6

const LOOKS_SECRET: readonly RegExp[] = [
  /\b(?:Bearer|Basic|Token)\s+[A-Za-z0-9+/_.~=-]{8,}/gi,
  /\bwhsec_[A-Za-z0-9+/=_-]+/g,
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?/g,
]
/** What is stored and shown of a body, at most. */
const SHOWN_BYTES = 4 * 1024
/** Beyond the border a secret that crosses it must still be seen whole. What only looks like one is not longer than this. */
const SEEN_BEYOND = 2 * 1024
const SECRET_HEADERS =
  /^(?:set-cookie2?|www-authenticate|authorization|cookie|.*(?:token|secret|api-?key|password).*)$/

export interface Redact {
  (text: string): string
  /** Whether it would change the text: nearly always not, and then nothing is copied. */
  finds(text: string): boolean
  /** Bytes of a body that `redactBody` has to be given, if it has them. */
  readonly bodyBytes: number
}

/** @param secrets what was used for the attempt: signing secrets and the values of custom headers */
export function redactor(secrets: readonly Secret[]): Redact {
  const known = secrets
    .flatMap((secret) => spellings(secret.reveal()))
    // the longest first: a secret that contains another one must go as a whole
    .sort((a, b) => b.length - a.length)
  // made when the first text with an escape in it is seen, which for most receivers is never
  let escaped: readonly RegExp[] | undefined
  const escapedIn = (text: string): readonly RegExp[] => {
    if (!ESCAPE.test(text)) return []
    escaped ??= known.map(escapedForms)
    return escaped
  }
  const finds = (text: string) =>
    known.some((secret) => text.includes(secret)) ||
    LOOKS_SECRET.some((pattern) => text.search(pattern) >= 0) ||
    escapedIn(text).some((pattern) => text.search(pattern) >= 0)
  const redact = (text: string) => {
    let clean = text
    for (const secret of known) clean = clean.replaceAll(secret, REPLACEMENT)
    for (const pattern of escapedIn(clean)) clean = clean.replace(pattern, REPLACEMENT)
    for (const pattern of LOOKS_SECRET) clean = clean.replace(pattern, REPLACEMENT)
    return clean
  }
  // three times the longest, which is twice its secret: six letters stand for one that is escaped, and what stands for a
  // short secret inside a long one that is cut off is longer than it
  const beyond = Math.max(SEEN_BEYOND, 3 * (known[0]?.length ?? 0))
  return Object.assign(redact, { finds, bodyBytes: SHOWN_BYTES + beyond })
}

/** @returns JSON of the answer's headers, without the values of those that carry credentials by name */
export function redactHeaders(
  redact: Redact,
  headers: Readonly<Record<string, string | readonly string[]>>,
): Readonly<Record<string, string | readonly string[]>> {
  if (!mayHoldSecret(redact, headers)) return headers
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      redact(name),
      SECRET_HEADERS.test(name) ? REPLACEMENT : typeof value === 'string' ? redact(value) : value.map(redact),
    ]),
  )
}

/** Looked at as one text: a secret inside one of them is inside that too. */
function mayHoldSecret(
  redact: Redact,
  headers: Readonly<Record<string, string | readonly string[]>>,
): boolean {
  let text = ''
  for (const [name, value] of Object.entries(headers)) {
    if (SECRET_HEADERS.test(name)) return true
    text += `${name}\n${typeof value === 'string' ? value : value.join('\n')}\n`
  }
  return redact.finds(text)
}

/**
 * Bytes that are not UTF-8 become U+FFFD: a body is shown as text, and a secret in it must be found as text.
 *
 * @param body its first `redact.bodyBytes`
 * @returns at most 4 KiB, cut only now: the part of a secret that crosses the border would not be known as one
 */
export function redactBody(redact: Redact, body: Buffer): Buffer {
  const clean = Buffer.from(redact(body.toString('utf8')))
  // where it was cut off a secret may stand in part, however short the rest has become
  const whole =
    body.length < redact.bodyBytes ? clean.length : clean.length - (redact.bodyBytes - SHOWN_BYTES)
  let end = Math.max(0, Math.min(SHOWN_BYTES, whole))
  // never inside a character
  while (end > 0 && end < clean.length && ((clean[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return clean.subarray(0, end)
}

function spellings(secret: string): string[] {
  if (secret.length < SHORTEST) return []
  // `whsec_…` is also found without its prefix, a scheme's value without the scheme, and a password without its base64
  const bare = secret.replace(/^whsec_/, '').replace(/^(?:Bearer|Basic|Token)\s+/i, '')
  const pair = /^Basic\s/i.test(secret) ? Buffer.from(bare, 'base64').toString() : ''
  const found = new Set<string>()
  for (const text of [secret, bare, pair, pair.slice(pair.indexOf(':') + 1)]) {
    if (text.length < SHORTEST) continue
    found.add(text)
    for (const encoding of ['base64', 'base64url', 'hex'] as const)
      found.add(Buffer.from(text).toString(encoding).replace(/=+$/, ''))
  }
  return [...found]
}

const ESCAPE = /[\\%&]/
const ENTITIES: Readonly<Record<string, string>> = {
  '<': 'lt',
  '>': 'gt',
  '&': 'amp',
  '"': 'quot',
  "'": 'apos',
}

/** Finds a text whose letters and digits stand as they are, and whose other characters as themselves or as an escape. */
function escapedForms(text: string): RegExp {
  // backslashes in a row are one part: each as one or two would be tried in every combination
  const forms = (text.match(/\\+|[^\\]/gu) ?? []).map((letter) => {
    if (/[A-Za-z0-9]/.test(letter)) return letter
    if (letter.startsWith('\\')) return '(?:\\\\+|(?:\\\\u005c|%5c|&#0*92;|&#x0*5c;)+)'
    const point = letter.codePointAt(0) ?? 0
    const units = [...Array(letter.length).keys()].map((at) => `\\u${hex(letter.charCodeAt(at), 4)}`)
    const percent = [...Buffer.from(letter)].map((byte) => `%${hex(byte, 2)}`)
    const exact = [
      letter,
      `\\${letter}`,
      JSON.stringify(letter).slice(1, -1),
      units.join(''),
      percent.join(''),
    ]
    const named = ENTITIES[letter] === undefined ? [] : [`&${ENTITIES[letter]};`]
    return `(?:${[...exact.map(literal), `&#0*${point};`, `&#x0*${hex(point, 1)};`, ...named].join('|')})`
  })
  // digits of an escape may be large or small
  return new RegExp(forms.join(''), 'gi')
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')
const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
