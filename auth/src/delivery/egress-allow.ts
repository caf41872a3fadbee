/**
 * `EGRESS_ALLOW`: the places inside one's own network that deliveries may reach, each named by host and port, and by a
 * path prefix where not all of that port is meant (`n8n:5678/webhook, 127.0.0.1:4100`). It opens exactly those; it never
 * opens a range of addresses or of ports, because host and port are always written out.
 */

export interface EgressAllowance {
  /** As the WHATWG URL parser prints it: lower case, IPv6 in brackets. */
  readonly host: string
  readonly port: number
  /** Begins with `/`, ends without one, except for `/` alone: every path, also when none was given. */
  readonly pathPrefix: string
}

export interface EgressAllowReading {
  readonly allowed: readonly EgressAllowance[]
  /** One sentence for each entry that cannot be read; none repeats the value. */
  readonly mistakes: readonly string[]
}

/** @param text the variable's value; empty allows nothing beyond public addresses */
export function parseEgressAllow(text: string): EgressAllowReading {
  const allowed: EgressAllowance[] = []
  const mistakes: string[] = []
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  for (const [index, part] of parts.entries()) {
    const entry = parseEntry(part)
    if (entry === undefined)
      mistakes.push(
        `EGRESS_ALLOW entry ${index + 1} must look like host:port/path-prefix, for example n8n:5678/webhook`,
      )
    else allowed.push(entry)
  }
  return { allowed, mistakes }
}

/** Whether one of the entries names this URL's host, port and path exactly; a prefix ends at a segment border. */
export function isAllowed(entries: readonly EgressAllowance[], url: URL): boolean {
  const port = portOf(url)
  return entries.some(
    (entry) => entry.host === url.hostname && entry.port === port && covers(entry.pathPrefix, url.pathname),
  )
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

function covers(prefix: string, path: string): boolean {
  if (prefix === '/') return true
  // Encoded slashes and dots can leave the prefix again where the receiver decodes before it routes.
  if (/%(?:2f|5c|2e)/i.test(path)) return false
  return path === prefix || path.startsWith(`${prefix}/`)
}

function parseEntry(part: string): EgressAllowance | undefined {
  const [, host, port, path] =
    /^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})(\/[^\s?#]*)?$/.exec(part) ?? []
  if (host === undefined || port === undefined) return undefined
  const number = Number(port)
  if (number < 1 || number > 65_535 || !URL.canParse(`http://${host}:${port}${path ?? '/'}`)) return undefined
  const url = new URL(`http://${host}:${port}${path ?? '/'}`)
  const pathPrefix = url.pathname.length > 1 ? url.pathname.replace(/\/+$/, '') || '/' : '/'
  return { host: url.hostname, port: number, pathPrefix }
}
