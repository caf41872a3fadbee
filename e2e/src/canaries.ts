/**
 * Finds secrets in bytes, whatever form they took on the way: plain, base64 at any offset, base64url, hex, URL-encoded,
 * UTF-16, and the raw bytes that a base64url text stands for. One pass over the bytes for any number of secrets. It
 * never prints a secret: a hit says whose it is, in which form and where.
 */

export interface Canary {
  /** What kind of secret it is: `refresh token`. */
  readonly name: string
  readonly value: string
}

export interface Hit {
  readonly name: string
  readonly form: string
  readonly medium: string
}

export interface Searcher {
  readonly probes: number
  /** @param medium where the bytes are from: a table, a file, an answer */
  search(medium: string, bytes: Uint8Array): Hit[]
}

interface Probe {
  readonly name: string
  readonly form: string
  readonly bytes: Buffer
}

/** Of each secret its first and its last so many characters are searched: half a token is a leak too. */
const WINDOW = 24
const FILTER_BITS = 22

/** @throws when a secret is too short to be told from chance */
export function openSearcher(canaries: readonly Canary[]): Searcher {
  // By the last four bytes of the probe, which differ more than the first ones (`CANARY-…`, `eyJ…`).
  const byEnd = new Map<number, Probe[]>()
  const filter = new Uint8Array(1 << FILTER_BITS)
  let probes = 0
  for (const canary of canaries) {
    for (const probe of probesOf(canary)) {
      const end = probe.bytes.readInt32LE(probe.bytes.length - 4)
      const same = byEnd.get(end)
      if (same === undefined) byEnd.set(end, [probe])
      else if (same.some(({ bytes }) => bytes.equals(probe.bytes))) continue
      else same.push(probe)
      filter[slotOf(end)] = 1
      probes += 1
    }
  }
  return {
    probes,
    search(medium, bytes) {
      const hits = new Map<string, Hit>()
      let word = 0
      for (let i = 0; i < bytes.length; i++) {
        word = (word >>> 8) | ((bytes[i] ?? 0) << 24)
        if (filter[slotOf(word)] === 0) continue
        for (const probe of byEnd.get(word) ?? []) {
          const start = i + 1 - probe.bytes.length
          if (start < 0 || probe.bytes.compare(bytes, start, i + 1) !== 0) continue
          hits.set(`${probe.name}/${probe.form}`, { name: probe.name, form: probe.form, medium })
        }
      }
      return [...hits.values()]
    },
  }
}

const slotOf = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - FILTER_BITS)

function probesOf({ name, value }: Canary): Probe[] {
  const plain = Buffer.from(value, 'utf8')
  if (plain.length < WINDOW)
    throw Object.assign(new Error(`a secret called "${name}" is too short to be searched for`), {
      code: 'short_canary',
    })
  const forms = windowsOf(plain).flatMap((window) => formsOf(window))
  // A text of 32 random bytes: its bytes themselves must not stand anywhere either.
  if (/^[A-Za-z0-9_-]{43}=?$/.test(value)) {
    const raw = Buffer.from(value, 'base64url')
    for (const window of windowsOf(raw)) {
      forms.push(['raw bytes', window], ['hex of raw bytes', Buffer.from(window.toString('hex'))])
      forms.push(['HEX of raw bytes', Buffer.from(window.toString('hex').toUpperCase())])
    }
    forms.push(['base64 of raw bytes', Buffer.from(raw.toString('base64').slice(0, 40))])
  }
  return forms.map(([form, bytes]) => ({ name, form, bytes }))
}

const windowsOf = (bytes: Buffer): Buffer[] => [bytes.subarray(0, WINDOW), bytes.subarray(-WINDOW)]

function formsOf(window: Buffer): [form: string, bytes: Buffer][] {
  const text = window.toString('utf8')
  const hex = window.toString('hex')
  const url = encodeURIComponent(text)
  const forms: [string, Buffer][] = [
    ['plain', window],
    ['hex', Buffer.from(hex)],
    ['HEX', Buffer.from(hex.toUpperCase())],
    ['percent', Buffer.from(hex.replace(/../g, '%$&').toUpperCase())],
    ['UTF-16', Buffer.from(text, 'utf16le')],
    ['UTF-16 BE', Buffer.from(text, 'utf16le').swap16()],
  ]
  if (url !== text) forms.push(['URL', Buffer.from(url)], ['url', Buffer.from(lowerEscapes(url))])
  // Three offsets, because the text may begin anywhere in what was encoded; whole groups of three bytes only.
  for (const offset of [0, 1, 2]) {
    const part = window.subarray(offset, offset + 21)
    forms.push(['base64', Buffer.from(part.toString('base64'))])
    forms.push(['base64url', Buffer.from(part.toString('base64url'))])
  }
  return forms
}

const lowerEscapes = (url: string): string => url.replace(/%../g, (code) => code.toLowerCase())
