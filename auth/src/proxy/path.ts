/**
 * Where a proxied request goes: one of the provider's APIs, each with one fixed base URL, and a path below it. What
 * another reader of the URL could take for another path, host or line is refused, not repaired. Never looks at the query
 * except for its characters. Sources: RFC 3986 §3.3 and §5.2.4, WHATWG URL §4.4 (percent-encoded dots).
 */

export interface ProxyTarget {
  /** The first segment: the API's name. */
  readonly api: string
  /** The rest, as given, without a slash at its beginning. */
  readonly path: string
  /** With its `?`, or empty. */
  readonly query: string
}

const LONGEST = 8_192
const PATH = /^[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*$/
const QUERY = /^[A-Za-z0-9\-._~!$&'()*+,;=:@%/?[\]{}|"<>^`]*$/
const API = /^[a-z0-9][a-z0-9-]{0,31}$/

/** @param given what follows `/proxy/`, byte for byte @returns undefined when it is refused */
export function readTarget(given: string): ProxyTarget | undefined {
  if (given.length > LONGEST) return undefined
  const at = given.indexOf('?')
  const whole = at === -1 ? given : given.slice(0, at)
  const query = at === -1 ? '' : given.slice(at)
  if (!PATH.test(whole) || !QUERY.test(query)) return undefined
  const [api = '', ...segments] = whole.split('/')
  if (!API.test(api) || !segments.every((one, i) => isPlain(one, i === segments.length - 1))) return undefined
  return { api, path: segments.join('/'), query }
}

/**
 * @param baseUrl of the API, from the operator's configuration
 * @returns undefined when the result is not below the base: then a check above was wrong, and nothing is sent
 */
export function joinTarget(baseUrl: string, target: ProxyTarget): URL | undefined {
  const base = new URL(baseUrl)
  const prefix = `${base.pathname.replace(/\/+$/, '')}/`
  const url = URL.parse(`${base.origin}${prefix}${target.path}${target.query}`)
  return url !== null &&
    url.origin === base.origin &&
    url.pathname === prefix + target.path &&
    url.username === '' &&
    url.password === '' &&
    url.hash === ''
    ? url
    : undefined
}

const DECODED_TIMES = 3

/** Neither empty (but the last may be), nor a step up, nor hiding a slash, a backslash or a control character. */
function isPlain(segment: string, last: boolean): boolean {
  if (segment === '') return last
  let text = segment
  for (let times = 0; times <= DECODED_TIMES; times += 1) {
    if (/[/\\\p{Cc}]/u.test(text)) return false
    // `..;x` is a step up for servers that cut path parameters off
    if (/^\.{1,2}$/.test(text.split(';')[0] ?? '')) return false
    const next = decoded(text, times === 0)
    if (next === undefined) return false
    if (next === text) return true
    text = next
  }
  return false
}

/** @param strict an escape that is none is refused; what only looks like one after decoding is left */
function decoded(text: string, strict: boolean): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return strict ? undefined : text
  }
}
