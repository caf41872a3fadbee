/**
 * Headers that a destination wants with each delivery. They are judged when it is saved, so that nothing is ever dropped
 * or bent when it is sent: what is not exactly one clean header is refused, with a sentence that names it. Ours and those
 * of HTTP itself are reserved. Never repeats a value: values are secrets.
 * Sources: RFC 9110 §5.1 (names), §5.5 (values), §7.6.1 (hop-by-hop); Standard Webhooks.
 */

export type HeadersReading =
  | { readonly kind: 'read'; readonly headers: Readonly<Record<string, string>> }
  /** One sentence for each mistake. */
  | { readonly kind: 'refused'; readonly mistakes: readonly string[] }

const LIMIT = 32
const LIMIT_BYTES = 8 * 1024
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/
/** Visible ASCII, with spaces and tabs between: no CR, LF, NUL or other control character, no byte that somebody decodes. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/

const RESERVED = new Set([
  'host',
  'date',
  'user-agent',
  'expect',
  'cookie',
  'set-cookie',
  'forwarded',
  'via',
  // hop by hop
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
const RESERVED_PREFIXES = ['content-', 'webhook-', 'proxy-', 'ce-', 'x-forwarded-', ':']

/** @param given names in any case; they come back in lower case */
export function readCustomHeaders(given: Readonly<Record<string, string>>): HeadersReading {
  const mistakes: string[] = []
  const headers: Record<string, string> = {}
  const entries = Object.entries(given)
  if (entries.length > LIMIT) mistakes.push(`A destination has at most ${LIMIT} headers.`)
  let bytes = 0
  for (const [index, [given, value]] of entries.entries()) {
    const name = given.toLowerCase()
    // a name that is no token may hold anything, so it is not repeated
    if (!TOKEN.test(given)) mistakes.push(`The name of header ${index + 1} is not a header name.`)
    else if (RESERVED.has(name) || RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix)))
      mistakes.push(`The header ${name} is set by us or by HTTP itself; choose another name.`)
    else if (!VALUE.test(value))
      mistakes.push(
        `The value of ${name} is empty, or holds more than visible ASCII characters and inner spaces.`,
      )
    else if (Object.hasOwn(headers, name)) mistakes.push(`The header ${name} is given twice.`)
    else headers[name] = value
    bytes += given.length + value.length + 4
  }
  if (bytes > LIMIT_BYTES) mistakes.push('Names and values together are longer than 8 KiB.')
  return mistakes.length > 0 ? { kind: 'refused', mistakes } : { kind: 'read', headers }
}
